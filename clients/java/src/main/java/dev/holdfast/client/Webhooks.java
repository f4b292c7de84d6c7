package dev.holdfast.client;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * Verifies webhooks: Standard Webhooks ({@code v1} and {@code v1a}), and holdfast's {@code X-Signature}.
 *
 * <p>A webhook is genuine if one of its signatures is; malformed ones and those of other versions do not count.
 * Remember {@link Webhook#id()} for as long as you accept time stamps: the same one again is the same event, or, with
 * {@code X-Signature}, a replay.
 */
public final class Webhooks {
    public static final Duration TOLERANCE = Duration.ofSeconds(300);

    private static final int SIGNATURES_MAX = 8;
    private static final int SECRET_BYTES_MIN = 24;
    private static final Pattern PART = Pattern.compile("[!-\\-/-~]{1,128}");
    private static final Pattern SECONDS = Pattern.compile("0|[1-9][0-9]{0,15}");
    private static final Pattern HEX = Pattern.compile("sha256=([0-9A-Fa-f]{64})");

    private enum Scheme {
        V1,
        V1A,
        X_SIGNATURE,
    }

    /** The bytes of a key or a signature, and the scheme that they are for. */
    private record Keyed(Scheme scheme, byte[] bytes) {}

    private record Claim(String id, String timestamp, String prefix, List<Keyed> signatures) {}

    private Webhooks() {}

    /** The same, judged by the clock of this machine. */
    public static Webhook verify(Map<String, List<String>> headers, byte[] body, List<String> secrets)
        throws WebhookRefused {
        return verify(headers, body, secrets, TOLERANCE, Instant.now());
    }

    /**
     * The webhook.
     *
     * @param headers by name, in any case; a header that is sent twice has two values
     * @param body the raw body
     * @param secrets one that begins with {@code whsec_} is for {@code v1}, a public key that begins with {@code whpk_}
     *     for {@code v1a}, any other for {@code X-Signature}. Several: while one replaces another
     */
    public static Webhook verify(
        Map<String, List<String>> headers, byte[] body, List<String> secrets, Duration tolerance, Instant now)
        throws WebhookRefused {
        List<Keyed> keys = secrets.stream().map(Webhooks::key).toList();
        Claim claim = claim(single(headers))
            .filter(it -> !it.signatures().isEmpty() && it.signatures().size() <= SIGNATURES_MAX)
            .orElseThrow(() -> new WebhookRefused(WebhookRefused.Why.INVALID_SIGNATURE));
        byte[] message = Crypto.concat(claim.prefix().getBytes(StandardCharsets.US_ASCII), body);
        boolean isGenuine = false;
        for (Keyed key : keys) {
            isGenuine |= made(key, claim, message);
        }
        if (!isGenuine) {
            throw new WebhookRefused(WebhookRefused.Why.INVALID_SIGNATURE);
        }
        long timestamp = Long.parseLong(claim.timestamp());
        if (Math.abs(timestamp - now.getEpochSecond()) > tolerance.toSeconds()) {
            throw new WebhookRefused(WebhookRefused.Why.STALE_TIMESTAMP);
        }
        return new Webhook(claim.id(), timestamp, body);
    }

    private static Keyed key(String secret) {
        if (secret.startsWith("whpk_")) {
            byte[] bytes = base64(secret.substring(5)).filter(it -> it.length == Crypto.PUBLIC_KEY_BYTES).orElseThrow(
                () -> new IllegalArgumentException("a public key is whpk_ followed by 32 bytes in base64"));
            return new Keyed(Scheme.V1A, bytes);
        }
        boolean isStandard = secret.startsWith("whsec_");
        Optional<byte[]> bytes =
            isStandard ? base64(secret.substring(6)) : Optional.of(secret.getBytes(StandardCharsets.UTF_8));
        String what = "a webhook secret has at least " + SECRET_BYTES_MIN + " bytes, in base64 after whsec_";
        return new Keyed(
            isStandard ? Scheme.V1 : Scheme.X_SIGNATURE,
            bytes.filter(it -> it.length >= SECRET_BYTES_MIN).orElseThrow(() -> new IllegalArgumentException(what)));
    }

    /** Whether one of the signatures was made with this key. */
    private static boolean made(Keyed key, Claim claim, byte[] message) {
        boolean isMade = false;
        for (Keyed signature : claim.signatures()) {
            if (signature.scheme() != key.scheme()) {
                continue;
            }
            isMade |= key.scheme() == Scheme.V1A
                ? Crypto.isSignature(key.bytes(), signature.bytes(), message)
                : MessageDigest.isEqual(Crypto.hmac(key.bytes(), message), signature.bytes());
        }
        return isMade;
    }

    /** Headers by their name in lower case; empty where one was sent twice. */
    private static Map<String, Optional<String>> single(Map<String, List<String>> headers) {
        Map<String, Optional<String>> single = new TreeMap<>();
        headers.forEach((name, values) -> values.forEach(value -> single.merge(
            name.toLowerCase(Locale.ROOT), Optional.of(value), (one, other) -> Optional.empty())));
        return single;
    }

    private static Optional<Claim> claim(Map<String, Optional<String>> headers) {
        boolean isOwn = headers.containsKey("x-signature");
        if (isOwn == headers.containsKey("webhook-signature")) {
            return Optional.empty();
        }
        String id = value(headers, isOwn ? "x-nonce" : "webhook-id");
        String timestamp = value(headers, isOwn ? "x-timestamp" : "webhook-timestamp");
        String listed = value(headers, isOwn ? "x-signature" : "webhook-signature");
        if (!PART.matcher(id).matches() || !SECONDS.matcher(timestamp).matches()) {
            return Optional.empty();
        }
        String prefix = isOwn ? timestamp + "." + id + "." : id + "." + timestamp + ".";
        return Optional.of(new Claim(id, timestamp, prefix, isOwn ? ownSignatures(listed) : standardSignatures(listed)));
    }

    private static String value(Map<String, Optional<String>> headers, String name) {
        return headers.getOrDefault(name, Optional.empty()).orElse("");
    }

    private static List<Keyed> ownSignatures(String listed) {
        List<Keyed> found = new ArrayList<>();
        for (String item : listed.split("[, \t]")) {
            var match = HEX.matcher(item);
            if (match.matches()) {
                found.add(new Keyed(Scheme.X_SIGNATURE, HexFormat.of().parseHex(match.group(1))));
            }
        }
        return found;
    }

    private static List<Keyed> standardSignatures(String listed) {
        List<Keyed> found = new ArrayList<>();
        for (String item : listed.split("[ \t]")) {
            String[] parts = item.split(",", 2);
            Optional<byte[]> bytes = parts.length < 2 ? Optional.empty() : base64(parts[1]);
            if (parts[0].equals("v1")) {
                bytes.filter(it -> it.length == 32).ifPresent(it -> found.add(new Keyed(Scheme.V1, it)));
            } else if (parts[0].equals("v1a")) {
                bytes.filter(it -> it.length == 64).ifPresent(it -> found.add(new Keyed(Scheme.V1A, it)));
            }
        }
        return found;
    }

    /** Padded base64, written in the one way that there is. */
    private static Optional<byte[]> base64(String text) {
        try {
            byte[] bytes = Base64.getDecoder().decode(text);
            return Base64.getEncoder().encodeToString(bytes).equals(text) ? Optional.of(bytes) : Optional.empty();
        } catch (IllegalArgumentException malformed) {
            return Optional.empty();
        }
    }
}
