package client

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
	"google.golang.org/protobuf/proto"
)

// FuzzInflate: no answer inflates beyond the bound, and one that is broken leaves
// nothing behind for the next.
func FuzzInflate(f *testing.F) {
	words := bytes.Repeat([]byte("the same words over and over "), 40)
	e, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	whole := e.EncodeAll(words, nil)
	for _, seed := range [][]byte{nil, whole, whole[:len(whole)-2], append(bytes.Clone(whole), whole...), e.EncodeAll(make([]byte, maxInflated*2), nil)} {
		f.Add(seed)
	}
	// A frame that says it holds 2^40 bytes, and one with a window of a gigabyte.
	f.Add([]byte("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x00"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00"))
	d := newInflater()
	f.Fuzz(func(t *testing.T, body []byte) {
		defer need.Brief(t)()
		if err := d.Reset(bytes.NewReader(body)); err == nil {
			if n, err := io.Copy(io.Discard, d); n > maxInflated+1 {
				t.Fatalf("%d bytes came out, error %v", n, err)
			}
		}
		if err := d.Reset(bytes.NewReader(whole)); err != nil {
			t.Fatalf("afterwards: %v", err)
		}
		if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, words) {
			t.Fatalf("afterwards: %d bytes, error %v", len(got), err)
		}
	})
}

// FuzzEnrolment: an answer to an enrolment is taken only with a certificate for this
// key that the org it names has signed; one that is taken is complete.
func FuzzEnrolment(f *testing.F) {
	replica := syncengine.ID{15: 9}
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	e := newEdge(f)
	good, err := e.Enroll(f.Context(), &tandemv1.EnrollRequest{
		Code: "GOODCODE", PublicKey: publicKey(key), Replica: replica[:], Proof: ed25519.Sign(key, append([]byte(enrollContext+"GOODCODE"), replica[:]...)),
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, change := range []func(*tandemv1.EnrollResponse){
		func(*tandemv1.EnrollResponse) {}, func(r *tandemv1.EnrollResponse) { r.Certificate = "e30.e30." },
		func(r *tandemv1.EnrollResponse) { r.OrgKey = r.OrgKey[:31] }, func(r *tandemv1.EnrollResponse) { r.Teams = [][]byte{nil, {1}} },
	} {
		r := proto.CloneOf(good)
		change(r)
		raw, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer need.Brief(t)()
		answer := &tandemv1.EnrollResponse{}
		if proto.Unmarshal(raw, answer) != nil {
			return
		}
		st, err := acceptEnrolment(answer, key, replica)
		if (st == nil) == (err == nil) {
			t.Fatalf("got %v, %v", st, err)
		}
		if err == nil && (answer.GetCertificate() != good.GetCertificate() && !strings.Contains(answer.GetCertificate(), ".") || st.NextOp != 1 || st.Replica != replica) {
			t.Fatalf("got %+v by %q", st, answer.GetCertificate())
		}
	})
}

// FuzzHeaders: no address and no header of an answer makes a device go anywhere but
// to a server over TLS, or on this machine; and none makes it wait for more than an
// hour.
func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{"https://tandem.example:8443/base/", "http://127.0.0.1:1", "http://127.0.0.1.example", "https://a@b", "http://[::1%25eth0]:1", "-1", "99999999999999999999", "7", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer need.Brief(t)()
		if u, err := parseServer(text); err == nil {
			here := u.Scheme == "http" && loopback(u.Hostname())
			if u.Host == "" || u.User != nil || u.Scheme != "https" && !here {
				t.Fatalf("%q is taken for a server: %v", text, u)
			}
		}
		h := http.Header{"Retry-After": {text}, "Content-Type": {text}}
		if wait := retryAfter(h); wait < 0 || wait > time.Hour {
			t.Fatalf("%q: wait %v", text, wait)
		}
		if isProto(h) && !strings.HasPrefix(strings.ToLower(strings.TrimSpace(text)), "application/proto") {
			t.Fatalf("%q is taken for a message", text)
		}
		if folded := foldCode(text); strings.ContainsAny(folded, " -\t\r\n") {
			t.Fatalf("%q folds to %q", text, folded)
		}
	})
}
