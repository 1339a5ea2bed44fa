package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/fieldsync"
	"google.golang.org/protobuf/proto"
)

// meddler is a proxy that sees what goes through it, and spoils each answer with rows
// in chunks while it has something to spoil it with.
type meddler struct {
	base   http.RoundTripper
	zstd   *zstd.Decoder
	spoil  []func(*tandemv1.SyncResponse)
	packed int
}

func (m *meddler) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(req.URL.Path, "/Sync") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	plain := body
	if resp.Header.Get("Content-Encoding") == "zstd" {
		if plain, err = m.zstd.DecodeAll(body, nil); err != nil {
			return nil, err
		}
	}
	r := &tandemv1.SyncResponse{}
	if err := proto.Unmarshal(plain, r); err != nil {
		return nil, err
	}
	if len(r.GetPacked()) > 0 {
		m.packed++
		if len(m.spoil) > 0 {
			m.spoil[0](r)
			m.spoil = m.spoil[1:]
			if body, err = proto.Marshal(r); err != nil {
				return nil, err
			}
			resp.Header.Del("Content-Encoding")
		}
	}
	resp.Header.Del("Content-Length")
	resp.ContentLength, resp.Body = int64(len(body)), io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// framedAnew has the digest of a response fit what it holds.
func framedAnew(r *tandemv1.SyncResponse) {
	sum := sha256.Sum256(append(bytes.Clone(r.GetPacked()), r.GetAnswer()...))
	r.Digest = sum[:16]
}

// TestFirstPullInChunks: a device whose first pull comes in chunks that were made for
// another holds what the server holds, by digest. What something on the way makes of a
// chunk is the network's fault, and costs the answer that was under way.
func TestFirstPullInChunks(t *testing.T) {
	t.Parallel()
	h, _ := newHome(t, homeOptions{})
	const documents = 900
	device := func(name string, o client.Options) *client.Client {
		t.Helper()
		dev, err := h.enrol(t.Context(), h.clinician, name, t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dev.Close() })
		return dev
	}
	one := device("one", client.Options{})
	if _, err := one.Bulk(t.Context(), func(bulk *client.Bulk) error {
		for i := range documents {
			doc, err := fieldsync.Encounter(fieldsync.Gen(1, i))
			if err != nil {
				return err
			}
			if _, err := bulk.Edit(func(e *client.Edit) error {
				_, err := e.Create(doc)
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	half := func(r *tandemv1.SyncResponse) {
		r.Packed = r.GetPacked()[:len(r.GetPacked())/2]
		framedAnew(r)
	}
	for name, spoil := range map[string][]func(*tandemv1.SyncResponse){
		"as it comes":         nil,
		"a bit flipped":       {func(r *tandemv1.SyncResponse) { r.Packed[len(r.GetPacked())/2] ^= 1 }},
		"half of it":          {half},
		"none of it":          {func(r *tandemv1.SyncResponse) { r.Packed = nil; framedAnew(r) }},
		"time and again":      {half, half, half},
		"all of it, repeated": {func(r *tandemv1.SyncResponse) { r.Packed = bytes.Repeat(r.GetPacked(), 2); framedAnew(r) }},
	} {
		m := &meddler{base: http.DefaultTransport, zstd: z, spoil: spoil}
		dev := device(name, client.Options{Transport: m})
		var moved *client.Moved
		for range spoil {
			if _, err := dev.Sync(t.Context()); !errors.Is(err, client.ErrNetwork) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if moved, err = dev.Sync(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		counts, err := dev.Counts(t.Context())
		if err != nil || counts["encounter"] != documents || moved.Verified == 0 || moved.Differing > 0 {
			t.Errorf("%s: %d records, %d scopes verified, %d differ: %v", name, counts["encounter"], moved.Verified, moved.Differing, err)
		}
		if m.packed == 0 || len(m.spoil) > 0 {
			t.Errorf("%s: %d answers had chunks", name, m.packed)
		}
	}
}
