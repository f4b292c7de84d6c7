package dev.holdfast.client;

import com.fasterxml.jackson.databind.JsonNode;

/** The deadline passed before the outcome was known; the core carries on. */
public final class Pending extends HoldfastException {
    private static final long serialVersionUID = 1L;

    private final transient JsonNode state;
    private final String location;

    Pending(JsonNode state, String location, String idempotencyKey) {
        super(location + " is still " + state.path("status").asText("in progress"), idempotencyKey, null);
        this.state = state;
        this.location = location;
    }

    /** What was last read: a purchase or a refund. */
    public JsonNode state() {
        return state;
    }

    /** Where to read it again. */
    public String location() {
        return location;
    }
}
