package dev.holdfast.client;

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * A request that is to be brought to an outcome.
 *
 * @param body null where there is none
 * @param key the idempotency key; null where the call takes none
 * @param retry what a repetition would do
 * @param deadline null: that of the policy
 */
record Call(
    String method, String path, Object body, Map<String, String> headers, String key, Retry retry, Duration deadline) {
    private static final Pattern KEY = Pattern.compile("[!#-~]{8,255}");

    /** What a repetition would do. */
    enum Retry {
        /** No more than one request. */
        SAFE,
        /** Perhaps the same again. */
        UNSAFE,
    }

    static Call of(String method, String path, Object body) {
        return new Call(method, path, body, Map.of(), null, Retry.SAFE, null);
    }

    static Call get(String path) {
        return of("GET", path, null);
    }

    /** With a key: the one that was given, or one that nobody else makes. */
    Call keyed(CallOptions options) {
        String own = options.key() != null ? options.key() : UUID.randomUUID().toString();
        if (!KEY.matcher(own).matches()) {
            throw new IllegalArgumentException(
                "an idempotency key has 8 to 255 characters of visible ASCII, without quotes");
        }
        return new Call(method, path, body, headers, own, retry, options.deadline());
    }

    Call within(Duration other) {
        return new Call(method, path, body, headers, key, retry, other);
    }

    Call unsafe() {
        return new Call(method, path, body, headers, key, Retry.UNSAFE, deadline);
    }

    Call with(Map<String, String> more) {
        return new Call(method, path, body, more, key, retry, deadline);
    }

    /** A path whose ids are one segment each, so that they lead nowhere else. */
    static String path(String before, String id, String after) {
        if (id.isEmpty() || id.equals(".") || id.equals("..")) {
            throw new IllegalArgumentException("\"" + id + "\" is not an id");
        }
        return before + encoded(id) + after;
    }

    static String query(Map<String, ?> parameters) {
        Map<String, Object> given = new LinkedHashMap<>(parameters);
        given.values().removeIf(value -> value == null);
        String joined = given.entrySet().stream()
            .map(it -> encoded(it.getKey()) + "=" + encoded(String.valueOf(it.getValue())))
            .collect(Collectors.joining("&"));
        return joined.isEmpty() ? "" : "?" + joined;
    }

    private static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8).replace("+", "%20");
    }
}
