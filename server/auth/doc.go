// Package auth decides which replica a request comes from, before anything of its
// body is read.
//
// Enrolment: an admin hands out a one-time code (NewCode), of which only the hash is
// kept (HashCode). The device answers it with a signature by the key it has made
// (VerifyEnrolment), and gets a certificate of the org (Certify) that names person,
// device, replica and key. A certificate does not expire: what device and person may
// do is read at each request.
//
// Requests: the certificate is presented as a DPoP-bound token (RFC 9449) with a
// proof by the replica's key over method, path, certificate, a number used once and
// a nonce of the server's. Device clocks may be years off, so the nonce alone bounds
// a proof's age; it is a MAC of a five-minute interval, and every answer carries the
// newest one.
package auth

import (
	"crypto/ed25519"

	"github.com/tandem-response/tandem/syncengine"
)

// Identity is who a request comes from, by its certificate.
type Identity struct {
	// Org, and the record ids of person and device.
	Org, Person, Device syncengine.ID
	// Replica is the life of the device's database, Key its public key.
	Replica syncengine.ID
	Key     ed25519.PublicKey
	// Generation counts the keys that the replica had before this one.
	Generation uint64
	// KeyID names the key of the org that has signed the certificate: empty for its first.
	KeyID string
}
