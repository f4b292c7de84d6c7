package dev.holdfast.client;

import dev.holdfast.client.model.KeySet;
import dev.holdfast.client.model.PublicKey;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * What receipts are verified with. A seal whose keys are left out is not checked.
 *
 * @param secrets of the HMAC, by their id; null: left out
 * @param publicKeys of the signature, by their id; null: left out
 */
public record ReceiptKeys(Map<String, byte[]> secrets, Map<String, byte[]> publicKeys) {
    private static final int SECRET_BYTES_MIN = 32;
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_.:-]{1,64}");
    private static final Pattern X = Pattern.compile("[A-Za-z0-9_-]{43}");

    public static final ReceiptKeys NONE = new ReceiptKeys(null, null);

    /** With the core's key set: {@link Shop#jwks()}. Keys of other kinds are passed over. */
    public ReceiptKeys withJwks(KeySet set) {
        if (set.keys() == null) {
            throw new KeysUnread("it is not a JSON Web Key Set");
        }
        Map<String, byte[]> keys = new LinkedHashMap<>();
        for (PublicKey key : set.keys()) {
            boolean isOurs = "OKP".equals(key.kty()) && "Ed25519".equals(key.crv());
            if (!isOurs || !(key.use() == null || key.use().equals("sig"))) {
                continue;
            }
            if (key.kid() == null || !NAME.matcher(key.kid()).matches() || keys.containsKey(key.kid())) {
                throw new KeysUnread("a key has no name of its own");
            }
            if (key.x() == null || !X.matcher(key.x()).matches()) {
                throw new KeysUnread("the key " + key.kid() + " is not 32 bytes in base64url");
            }
            keys.put(key.kid(), Base64.getUrlDecoder().decode(key.x()));
        }
        return new ReceiptKeys(secrets, keys);
    }

    /** With the secrets by their id. */
    public ReceiptKeys withSecrets(Map<String, String> named) {
        Map<String, byte[]> keys = new LinkedHashMap<>();
        named.forEach((name, text) -> {
            byte[] secret = text.getBytes(StandardCharsets.UTF_8);
            if (secret.length < SECRET_BYTES_MIN) {
                throw new KeysUnread("the receipt key " + name + " has fewer than " + SECRET_BYTES_MIN + " bytes");
            }
            keys.put(name, secret);
        });
        return new ReceiptKeys(keys, publicKeys);
    }
}
