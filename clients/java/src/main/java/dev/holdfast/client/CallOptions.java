package dev.holdfast.client;

import java.time.Duration;

/**
 * What one call may have of its own.
 *
 * @param key the idempotency key, where another process may make the same call; null: one is made for this call
 * @param deadline of the call; null: that of the policy
 */
public record CallOptions(String key, Duration deadline) {
    static final CallOptions NONE = new CallOptions(null, null);

    public static CallOptions key(String key) {
        return new CallOptions(key, null);
    }

    public static CallOptions deadline(Duration deadline) {
        return new CallOptions(null, deadline);
    }

    public CallOptions withDeadline(Duration deadline) {
        return new CallOptions(key, deadline);
    }
}
