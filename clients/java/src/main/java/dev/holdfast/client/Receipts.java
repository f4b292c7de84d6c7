package dev.holdfast.client;

import dev.holdfast.client.model.Receipt;
import dev.holdfast.client.model.SealCheck;
import dev.holdfast.client.model.Verdict;
import dev.holdfast.client.model.VerdictSeals;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/**
 * Verifies receipts without the core, as {@code holdfast receipt verify} does.
 *
 * <p>A receipt is valid if its hash is that of its fields, one of its seals is genuine and none is forged. A key that
 * is not given proves nothing, for or against.
 */
public final class Receipts {
    private static final int RECEIPT_BYTES_MAX = 4_096;

    private Receipts() {}

    /** What is found of a receipt that the core answered. */
    public static Verdict verify(Receipt receipt, ReceiptKeys keys) {
        return verify(Json.write(receipt), keys);
    }

    /** What is found of a receipt's JSON as it came. */
    public static Verdict verify(byte[] json, ReceiptKeys keys) {
        if (json.length > RECEIPT_BYTES_MAX) {
            return unread("too_large");
        }
        ReceiptJson fields;
        try {
            fields = ReceiptJson.read(json);
        } catch (ReceiptJson.Malformed malformed) {
            return unread("malformed");
        }
        byte[] stated = HexFormat.of().parseHex(fields.integrityHash());
        boolean isSameHash = MessageDigest.isEqual(Crypto.sha256(fields.hashed()), stated);
        SealCheck hmac = checkHmac(fields, stated, keys);
        SealCheck ed25519 = checkSignature(fields, stated, keys);
        return verdict(fields, finding(isSameHash, hmac, ed25519), hmac, ed25519);
    }

    private static SealCheck checkHmac(ReceiptJson fields, byte[] stated, ReceiptKeys keys) {
        if (keys.secrets() == null) {
            return SealCheck.NOT_CHECKED;
        }
        byte[] secret = keys.secrets().get(fields.keyId());
        if (secret == null) {
            return SealCheck.UNKNOWN_KEY;
        }
        byte[] message = Crypto.concat(ascii("holdfast-receipt-seal-v1\n"), stated, ascii(fields.keyId()));
        byte[] sealed = HexFormat.of().parseHex(fields.hmac());
        return MessageDigest.isEqual(Crypto.hmac(secret, message), sealed) ? SealCheck.GENUINE : SealCheck.MISMATCH;
    }

    private static SealCheck checkSignature(ReceiptJson fields, byte[] stated, ReceiptKeys keys) {
        if (fields.signingKey() == null) {
            return SealCheck.ABSENT;
        }
        if (keys.publicKeys() == null) {
            return SealCheck.NOT_CHECKED;
        }
        byte[] key = keys.publicKeys().get(fields.signingKey());
        if (key == null) {
            return SealCheck.UNKNOWN_KEY;
        }
        byte[] message = Crypto.concat(ascii("holdfast-receipt-sign-v1\n"), stated, ascii(fields.signingKey()));
        byte[] signature = HexFormat.of().parseHex(fields.signature());
        return Crypto.isSignature(key, signature, message) ? SealCheck.GENUINE : SealCheck.MISMATCH;
    }

    /** The first thing wrong, of all that was looked at. */
    private static String finding(boolean isSameHash, SealCheck hmac, SealCheck ed25519) {
        if (!isSameHash) {
            return "hash_mismatch";
        }
        if (hmac == SealCheck.MISMATCH) {
            return "seal_mismatch";
        }
        if (ed25519 == SealCheck.MISMATCH) {
            return "signature_mismatch";
        }
        if (hmac == SealCheck.GENUINE || ed25519 == SealCheck.GENUINE) {
            return "genuine";
        }
        if (hmac == SealCheck.UNKNOWN_KEY) {
            return "unknown_key";
        }
        return ed25519 == SealCheck.UNKNOWN_KEY ? "unknown_signing_key" : "unsigned";
    }

    private static Verdict verdict(ReceiptJson fields, String reason, SealCheck hmac, SealCheck ed25519) {
        List<String> missing = new ArrayList<>();
        if (hmac == SealCheck.UNKNOWN_KEY) {
            missing.add(fields.keyId());
        }
        if (ed25519 == SealCheck.UNKNOWN_KEY) {
            missing.add(fields.signingKey());
        }
        boolean isValid = reason.equals("genuine");
        List<String> shown = isValid || missing.isEmpty() ? null : missing;
        return new Verdict(isValid, fields.keyId(), reason, shown, new VerdictSeals(hmac, ed25519));
    }

    private static Verdict unread(String reason) {
        return new Verdict(false, null, reason, null, new VerdictSeals(SealCheck.NOT_CHECKED, SealCheck.NOT_CHECKED));
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
