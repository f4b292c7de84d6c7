package dev.holdfast.client;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The fields of a receipt, read strictly: no field more, less or twice, and one way to write a number.
 *
 * @param capturedAt in UTC with milliseconds
 * @param signingKey null where there is no signature
 * @param signature null where there is none
 */
record ReceiptJson(
    String receiptId, String purchaseId, String userId, String productId, String quantity, String amount,
    String currency, String capturedAt, String integrityHash, String keyId, String hmac, String signingKey,
    String signature) {
    /** It is not a receipt. */
    static final class Malformed extends Exception {
        private static final long serialVersionUID = 1L;
    }

    /** A number's digits, to distinguish it from text. */
    private record Whole(String digits) {}

    private static final String ID = "[A-Za-z0-9_.:-]{1,64}";
    private static final String HASH = "[0-9a-f]{64}";
    private static final Pattern TIME = Pattern.compile(
        "([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})"
            + "(?:\\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))");
    private static final DateTimeFormatter WRITTEN =
        DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSS'Z'", Locale.ROOT);
    private static final int TIME_CHARS_MAX = 58;
    private static final Set<String> REQUIRED = Set.of(
        "receipt_id", "purchase_id", "user_id", "product_id", "quantity", "amount", "captured_at", "integrity_hash",
        "key_id", "hmac");

    static ReceiptJson read(byte[] json) throws Malformed {
        String text;
        try {
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(json)).toString();
        } catch (CharacterCodingException notUtf8) {
            throw new Malformed();
        }
        Map<String, Object> all = new Scanner(text).whole();
        Set<String> names = new HashSet<>(all.keySet());
        boolean isSigned = names.remove("ed25519");
        expect(names.equals(REQUIRED));
        Map<?, ?> amount = object(all.get("amount"), Set.of("value", "currency"));
        Map<?, ?> signed = isSigned ? object(all.get("ed25519"), Set.of("key_id", "signature")) : Map.of();
        return new ReceiptJson(
            word(all.get("receipt_id"), "r_[0-9a-f]{32}"),
            word(all.get("purchase_id"), "p_[0-9a-f]{32}"),
            word(all.get("user_id"), ID),
            word(all.get("product_id"), ID),
            whole(all.get("quantity"), 32),
            whole(amount.get("value"), 63),
            word(amount.get("currency"), "[A-Z]{3}"),
            instant(word(all.get("captured_at"), ".*")),
            word(all.get("integrity_hash"), HASH),
            word(all.get("key_id"), ID),
            word(all.get("hmac"), HASH),
            isSigned ? word(signed.get("key_id"), ID) : null,
            isSigned ? word(signed.get("signature"), "[0-9a-f]{128}") : null);
    }

    /** The text that is hashed. */
    byte[] hashed() {
        String text = "holdfast-receipt-v1\nreceipt_id=" + receiptId + "\npurchase_id=" + purchaseId + "\nuser_id="
            + userId + "\nproduct_id=" + productId + "\nquantity=" + quantity + "\namount=" + amount + "\ncurrency="
            + currency + "\ncaptured_at=" + capturedAt + "\n";
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    /** Objects, texts and whole numbers, which is all that a receipt has. */
    private static final class Scanner {
        private static final int DEPTH_MAX = 2;
        private static final Pattern SPACE = Pattern.compile("[ \\t\\n\\r]*");
        private static final Pattern OPEN = Pattern.compile("\\{[ \\t\\n\\r]*");
        private static final Pattern COMMA = Pattern.compile(",[ \\t\\n\\r]*");
        private static final Pattern COLON = Pattern.compile("[ \\t\\n\\r]*:");
        private static final Pattern NUMBER = Pattern.compile("-?(?:0|[1-9][0-9]*)");
        private static final Pattern TEXT =
            Pattern.compile("\"(?:[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\/bfnrt]|u[0-9A-Fa-f]{4}))*+\"");
        private static final Pattern ESCAPE = Pattern.compile("\\\\(?:u(.{4})|(.))");

        private final String text;
        private int at;

        Scanner(String text) {
            this.text = text;
        }

        @SuppressWarnings("unchecked")
        Map<String, Object> whole() throws Malformed {
            Object value = value(0);
            expect(value instanceof Map && at == text.length());
            return (Map<String, Object>) value;
        }

        private Object value(int depth) throws Malformed {
            take(SPACE);
            Object value;
            if (at < text.length() && text.charAt(at) == '{') {
                value = object(depth);
            } else if (at < text.length() && text.charAt(at) == '"') {
                value = string();
            } else {
                value = new Whole(take(NUMBER));
            }
            take(SPACE);
            return value;
        }

        private Map<String, Object> object(int depth) throws Malformed {
            expect(depth < DEPTH_MAX);
            Map<String, Object> fields = new LinkedHashMap<>();
            take(OPEN);
            while (at < text.length() && text.charAt(at) != '}') {
                if (!fields.isEmpty()) {
                    take(COMMA);
                }
                String name = string();
                expect(!fields.containsKey(name));
                take(COLON);
                fields.put(name, value(depth + 1));
            }
            expect(at < text.length());
            at += 1;
            return fields;
        }

        private String string() throws Malformed {
            String literal = take(TEXT);
            String inner = literal.substring(1, literal.length() - 1);
            return ESCAPE.matcher(inner).replaceAll(it -> Matcher.quoteReplacement(unescaped(it.group(1), it.group(2))));
        }

        private static String unescaped(String code, String letter) {
            if (code != null) {
                return String.valueOf((char) Integer.parseInt(code, 16));
            }
            int at = "bfnrt".indexOf(letter);
            return at < 0 ? letter : "\b\f\n\r\t".substring(at, at + 1);
        }

        private String take(Pattern pattern) throws Malformed {
            Matcher matcher = pattern.matcher(text).region(at, text.length());
            expect(matcher.lookingAt());
            at = matcher.end();
            return matcher.group();
        }
    }

    /** The instant that an RFC 3339 time says, in UTC with milliseconds. */
    private static String instant(String text) throws Malformed {
        Matcher match = TIME.matcher(text);
        expect(match.matches() && text.length() <= TIME_CHARS_MAX);
        String fraction = match.group(7) == null ? "" : match.group(7);
        expect(fraction.length() <= 3 || fraction.substring(3).matches("0*"));
        int ms = Integer.parseInt((fraction + "000").substring(0, 3));
        int second = Integer.parseInt(match.group(6));
        int hours = match.group(8) == null ? 0 : Integer.parseInt(match.group(9));
        int minutes = match.group(8) == null ? 0 : Integer.parseInt(match.group(10));
        expect(second <= 60 && hours <= 23 && minutes <= 59);
        int offset = (hours * 60 + minutes) * ("-".equals(match.group(8)) ? -1 : 1);
        try {
            LocalDateTime minute = LocalDateTime.of(
                Integer.parseInt(match.group(1)), Integer.parseInt(match.group(2)), Integer.parseInt(match.group(3)),
                Integer.parseInt(match.group(4)), Integer.parseInt(match.group(5))).minusMinutes(offset);
            // A leap second ends a month of UTC; Unix time counts it as the next second.
            LocalDateTime next = minute.plusMinutes(1);
            expect(second < 60 || (next.getDayOfMonth() == 1 && next.getHour() == 0 && next.getMinute() == 0));
            LocalDateTime at = minute.plusSeconds(second).plusNanos(ms * 1_000_000L);
            expect(at.toEpochSecond(ZoneOffset.UTC) >= 0 && at.getYear() <= 9_999);
            return WRITTEN.format(at);
        } catch (DateTimeException noSuchDay) {
            throw new Malformed();
        }
    }

    private static Map<?, ?> object(Object value, Set<String> fields) throws Malformed {
        expect(value instanceof Map && ((Map<?, ?>) value).keySet().equals(fields));
        return (Map<?, ?>) value;
    }

    private static String word(Object value, String pattern) throws Malformed {
        expect(value instanceof String && ((String) value).matches(pattern));
        return (String) value;
    }

    private static String whole(Object value, int bits) throws Malformed {
        expect(value instanceof Whole);
        String digits = ((Whole) value).digits();
        expect(!digits.startsWith("-") && digits.length() < 20 && new BigInteger(digits).bitLength() <= bits);
        return digits;
    }

    private static void expect(boolean holds) throws Malformed {
        if (!holds) {
            throw new Malformed();
        }
    }
}
