package people

import (
	"crypto/hmac"
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// bucket counts tries under a key: burst at once, then one more every so often.
type bucket struct {
	key   syncengine.Hash
	burst int
	every time.Duration
	// shared: others count under it too, who have not got in.
	shared bool
}

// The counts. One address may try an account less often than the account forgets, so that
// it cannot keep the account's count full.
var (
	perAccount = bucket{burst: 20, every: 5 * time.Minute}
	perPair    = bucket{burst: 6, every: 10 * time.Minute}
	perAddress = bucket{burst: 30, every: 30 * time.Second, shared: true}
	perBrowser = bucket{burst: 10, every: 5 * time.Minute}
	perFactor  = bucket{burst: 10, every: 10 * time.Minute}
	perCode    = bucket{burst: 10, every: time.Minute}
	perChange  = bucket{burst: 6, every: 5 * time.Minute}
)

// of returns the count of one thing. Keys are keyed hashes: no address and no login can be
// read from them.
func (b bucket) of(org *store.Org, what string, parts ...string) bucket {
	mac := hmac.New(sha256.New, org.Derive("sign-in tries"))
	mac.Write([]byte(what))
	for _, p := range parts {
		mac.Write([]byte{0})
		mac.Write([]byte(p))
	}
	b.key = syncengine.Hash(mac.Sum(nil))
	return b
}

// next returns when the count will be empty after one more try, or how long to wait for it.
func (b bucket) next(emptyMS, nowMS int64) (next int64, wait time.Duration) {
	full := nowMS + int64(b.burst)*b.every.Milliseconds()
	next = max(min(emptyMS, full), nowMS) + b.every.Milliseconds()
	return next, time.Duration(max(next-full, 0)) * time.Millisecond
}

// spent returns how long to wait before the counts let another try through; 0 for now.
func spent(view store.PeopleView, counts []bucket, nowMS int64) (wait time.Duration, err error) {
	for _, b := range counts {
		empty, err := view.Tries(b.key)
		if err != nil {
			return 0, err
		}
		_, w := b.next(empty, nowMS)
		wait = max(wait, w)
	}
	return wait, nil
}

// charge counts a try, unless one of the counts is full: then nothing is counted, and wait
// says for how long.
func charge(tx *store.Tx, counts []bucket, nowMS int64) (wait time.Duration, err error) {
	if wait, err = spent(tx, counts, nowMS); err != nil || wait > 0 {
		return wait, err
	}
	if err := tx.PruneTries(nowMS); err != nil {
		return 0, err
	}
	for _, b := range counts {
		empty, err := tx.Tries(b.key)
		if err != nil {
			return 0, err
		}
		next, _ := b.next(empty, nowMS)
		if err := tx.SetTries(b.key, next); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// refund forgets what was counted of who has got in. The address keeps what others have
// tried from it.
func refund(tx *store.Tx, counts []bucket, nowMS int64) error {
	for _, b := range counts {
		empty := int64(0)
		if b.shared {
			before, err := tx.Tries(b.key)
			if err != nil {
				return err
			}
			if before -= b.every.Milliseconds(); before > nowMS {
				empty = before
			}
		}
		if err := tx.SetTries(b.key, empty); err != nil {
			return err
		}
	}
	return nil
}

// address returns where a request comes from, as it is counted: an IPv6 network of 64 bits
// counts as one. Where a proxy that is not named stands before the server every request
// comes from it: then it is empty, and nothing is counted by address.
func (p *People) address(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	addr := peer.Addr().Unmap()
	switch {
	case p.proxied(addr):
		// Each proxy adds whom it was asked by; what stands before is anybody's word.
		chain := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, text := range slices.Backward(chain) {
			text = strings.TrimSpace(text)
			if host, _, err := net.SplitHostPort(text); err == nil {
				text = host
			}
			a, err := netip.ParseAddr(text)
			if err != nil {
				return ""
			}
			if addr = a.Unmap(); !p.proxied(addr) {
				break
			}
		}
		if p.proxied(addr) {
			return ""
		}
	case addr.IsLoopback() && r.TLS == nil:
		return ""
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}

// Address returns where a request comes from, for counting alone; empty where that is not
// known.
func (p *People) Address(r *http.Request) string { return p.address(r) }

func (p *People) proxied(a netip.Addr) bool {
	return slices.ContainsFunc(p.o.Proxies, func(n netip.Prefix) bool { return n.Contains(a) })
}
