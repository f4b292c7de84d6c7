// Ed25519 (RFC 8032), by Node's crypto.
import { createPublicKey, verify } from "node:crypto";

export const PUBLIC_KEY_BYTES = 32;

/** Whether `signature` is the key's, of `message`. */
export function isSignature(publicKey: Uint8Array, signature: Uint8Array, message: Uint8Array): boolean {
  const x = Buffer.from(publicKey).toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  return verify(null, message, key, signature);
}
