// Keys and what is signed by them: enrolment, requests, pushes.

import { type KeyObject, createPrivateKey, createPublicKey, randomBytes, sign, verify } from "node:crypto";
import { type Bytes, base64url, concat, sha256, text, u64, unhex } from "./bytes.js";

const pkcs8 = unhex("302e020100300506032b657004220420");
const spki = unhex("302a300506032b6570032100");

// keyOf is the Ed25519 key of a seed of 32 bytes.
export function keyOf(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: "der", type: "pkcs8" });
}

export function publicOf(key: KeyObject): Bytes {
  return Uint8Array.from(createPublicKey(key).export({ format: "der", type: "spki" }).subarray(spki.length));
}

export const signWith = (key: KeyObject, message: Uint8Array): Bytes => Uint8Array.from(sign(null, message, key));

export function signed(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return verify(null, message, createPublicKey({ key: Buffer.concat([spki, key]), format: "der", type: "spki" }), signature);
}

// foldCode is a one-time code as it is signed.
export const foldCode = (code: string): string => code.toUpperCase().replace(/[-\s]/g, "");

export function enrolmentText(code: string, replica: Uint8Array): Bytes {
  return concat(text("tandem-enroll-v1" + foldCode(code)), replica);
}

// thumbprint is that of a key as a JWK (RFC 7638).
export function thumbprint(key: Uint8Array): string {
  return base64url(sha256(text(`{"crv":"Ed25519","kty":"OKP","x":"${base64url(key)}"}`)));
}

// certificateFor refuses a certificate that the org has not signed, or not for this key.
export function certificateFor(certificate: string, orgKey: Uint8Array, key: Uint8Array): void {
  const [head, payload, signature] = certificate.split(".");
  if (!head || !payload || !signature) throw new Error("the certificate is no signed token");
  const says = JSON.parse(Buffer.from(head, "base64url").toString()) as { alg?: string; typ?: string };
  if (says.alg !== "EdDSA" || says.typ !== "tandem-replica+jwt") throw new Error("the certificate is of another type");
  if (!signed(orgKey, text(`${head}.${payload}`), Buffer.from(signature, "base64url"))) {
    throw new Error("the certificate is not signed by the org");
  }
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { cnf?: { jkt?: string } };
  if (claims.cnf?.jkt !== thumbprint(key)) throw new Error("the certificate is for another key");
}

// proofOf is the DPoP proof of one request (RFC 9449).
export function proofOf(key: KeyObject, certificate: string, method: string, url: string, nonce: string): string {
  const at = new URL(url);
  const head = { typ: "dpop+jwt", alg: "EdDSA", jwk: { kty: "OKP", crv: "Ed25519", x: base64url(publicOf(key)) } };
  const claims = {
    jti: base64url(randomBytes(16)), htm: method, htu: at.origin + at.pathname, iat: Math.floor(Date.now() / 1000),
    ath: base64url(sha256(text(certificate))), ...(nonce === "" ? {} : { nonce }),
  };
  const said = base64url(JSON.stringify(head)) + "." + base64url(JSON.stringify(claims));
  return said + "." + base64url(signWith(key, text(said)));
}

// envelopeHash binds a change to its place in the history of a replica.
export function envelopeHash(replica: Uint8Array, op: number, prev: Uint8Array, body: Uint8Array): Bytes {
  return sha256(text("tandem-envelope-v1"), replica, u64(BigInt(op)), prev, body);
}

// batchText is what a push signs: the envelope hash of the last op of its run, or, of
// several runs, a hash over that of each.
export function batchText(ends: Uint8Array[]): Bytes {
  const batch = ends.length === 1 ? ends[0]! : sha256(text("tandem-runs-v1"), ...ends);
  return concat(text("tandem-batch-v1"), batch);
}
