package dev.holdfast.client;

import java.io.ByteArrayOutputStream;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.spec.InvalidKeySpecException;
import java.security.spec.X509EncodedKeySpec;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** SHA-256, HMAC and Ed25519, which every Java 17 has. */
final class Crypto {
    static final int PUBLIC_KEY_BYTES = 32;

    /** What stands before the 32 bytes of a public key (RFC 8410). */
    private static final byte[] KEY_HEAD = HexFormat.of().parseHex("302a300506032b6570032100");

    private Crypto() {}

    static byte[] sha256(byte[] message) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(message);
        } catch (GeneralSecurityException absent) {
            throw missing(absent);
        }
    }

    static byte[] hmac(byte[] secret, byte[] message) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(secret, "HmacSHA256"));
            return mac.doFinal(message);
        } catch (GeneralSecurityException absent) {
            throw missing(absent);
        }
    }

    /** Whether {@code signature} is the Ed25519 signature of {@code message} by this key. */
    static boolean isSignature(byte[] publicKey, byte[] signature, byte[] message) {
        try {
            PublicKey key = KeyFactory.getInstance("Ed25519")
                .generatePublic(new X509EncodedKeySpec(concat(KEY_HEAD, publicKey)));
            Signature verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(key);
            verifier.update(message);
            return verifier.verify(signature);
        } catch (SignatureException | InvalidKeySpecException forged) {
            return false;
        } catch (GeneralSecurityException absent) {
            throw missing(absent);
        }
    }

    static byte[] concat(byte[]... parts) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            all.writeBytes(part);
        }
        return all.toByteArray();
    }

    private static IllegalStateException missing(GeneralSecurityException absent) {
        return new IllegalStateException("this Java lacks an algorithm that Java 17 has", absent);
    }
}
