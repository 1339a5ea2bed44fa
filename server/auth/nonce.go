package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// nonceLife is how long a nonce is the newest; it is accepted as long again.
const nonceLife = 5 * time.Minute

// nonces gives out the server's nonces and remembers the proofs that were made with
// those still accepted. Guarded by its owner.
type nonces struct {
	key []byte
	// limit is how many proofs are remembered for one nonce.
	limit int
	// interval and turn say which nonce is the newest.
	interval, turn   int64
	current, last    string
	used, usedBefore map[proofID]struct{}
}

// proofID stands for one proof of one key.
type proofID [16]byte

func (n *nonces) make(interval, turn int64) string {
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte("tandem-dpop-nonce-v1"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(interval)))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(turn)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// newest returns the nonce to be used from now on.
func (n *nonces) newest(now time.Time) string {
	interval := now.UnixMilli() / nonceLife.Milliseconds()
	if n.current != "" && interval == n.interval {
		return n.current
	}
	if n.current != "" && interval == n.interval+1 {
		n.last, n.usedBefore = n.current, n.used
	} else {
		n.last, n.usedBefore = n.make(interval-1, 0), nil
	}
	n.interval, n.turn, n.current, n.used = interval, 0, n.make(interval, 0), map[proofID]struct{}{}
	return n.current
}

// accepts reports whether a nonce is still good.
func (n *nonces) accepts(nonce string, now time.Time) bool {
	newest := n.newest(now)
	return hmac.Equal([]byte(nonce), []byte(newest)) || n.last != "" && hmac.Equal([]byte(nonce), []byte(n.last))
}

// once notes a proof; false where it has been noted before.
func (n *nonces) once(p proofID) bool {
	_, now := n.used[p]
	_, before := n.usedBefore[p]
	if now || before {
		return false
	}
	if len(n.used) >= n.limit {
		// Memory is bounded by letting the nonces go instead of the proofs: what could
		// no longer be recognized is no longer accepted.
		n.turn++
		n.current, n.last = n.make(n.interval, n.turn), ""
		n.used, n.usedBefore = map[proofID]struct{}{}, nil
	}
	n.used[p] = struct{}{}
	return true
}
