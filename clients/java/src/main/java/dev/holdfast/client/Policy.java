package dev.holdfast.client;

import java.time.Duration;
import java.util.function.Consumer;
import javax.net.ssl.SSLContext;

/**
 * How long and how often a call tries.
 *
 * @param timeout of one attempt
 * @param deadline of the whole call, with its waits and polls, unless the call names another
 * @param retriesMax repetitions of one request, polls aside
 * @param observer hears of each attempt, to log or count it
 * @param tls for a core with a certificate of your own; null: the default of the platform
 */
public record Policy(
    Duration timeout, Duration deadline, int retriesMax, Clock clock, Consumer<Attempt> observer, SSLContext tls) {
    public static Policy defaults() {
        return new Policy(Duration.ofSeconds(10), Duration.ofSeconds(30), 4, Clock.system(), attempt -> {}, null);
    }

    public Policy withTimeout(Duration timeout) {
        return new Policy(timeout, deadline, retriesMax, clock, observer, tls);
    }

    public Policy withDeadline(Duration deadline) {
        return new Policy(timeout, deadline, retriesMax, clock, observer, tls);
    }

    public Policy withRetriesMax(int retriesMax) {
        return new Policy(timeout, deadline, retriesMax, clock, observer, tls);
    }

    public Policy withClock(Clock clock) {
        return new Policy(timeout, deadline, retriesMax, clock, observer, tls);
    }

    public Policy withObserver(Consumer<Attempt> observer) {
        return new Policy(timeout, deadline, retriesMax, clock, observer, tls);
    }

    public Policy withTls(SSLContext tls) {
        return new Policy(timeout, deadline, retriesMax, clock, observer, tls);
    }
}
