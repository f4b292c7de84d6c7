package dev.holdfast.client;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Conditions of a change; null where there is none.
 *
 * @param ifMatch only if the terms still have this entity tag
 * @param ifNoneMatch only if they have none of these; {@code *}: only if there are none
 */
public record Conditions(String ifMatch, String ifNoneMatch) {
    public static final Conditions NONE = new Conditions(null, null);
    /** Only creates. */
    public static final Conditions ABSENT = new Conditions(null, "*");

    public static Conditions ifMatch(String etag) {
        return new Conditions(etag, null);
    }

    Map<String, String> headers() {
        Map<String, String> headers = new LinkedHashMap<>();
        if (ifMatch != null) {
            headers.put("If-Match", ifMatch);
        }
        if (ifNoneMatch != null) {
            headers.put("If-None-Match", ifNoneMatch);
        }
        return headers;
    }
}
