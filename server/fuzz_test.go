package server_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/zstd"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/server"
)

// FuzzInflate: no compressed body inflates beyond the bound of a request, and one
// that is broken leaves nothing behind for the next that the decompressor reads.
func FuzzInflate(f *testing.F) {
	words := bytes.Repeat([]byte("the same words over and over "), 40)
	var zipped, zstded bytes.Buffer
	z := gzip.NewWriter(&zipped)
	e, err := zstd.NewWriter(&zstded)
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range []io.WriteCloser{z, e} {
		if _, err := w.Write(words); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
	}
	whole := map[string][]byte{"gzip": zipped.Bytes(), "zstd": zstded.Bytes()}
	inflaters := map[string]connect.Decompressor{}
	for name, open := range server.Inflaters() {
		inflaters[name] = open()
		f.Add(name == "zstd", whole[name])
		f.Add(name == "zstd", whole[name][:len(whole[name])/2])
		f.Add(name == "zstd", append(bytes.Clone(whole[name]), whole[name]...))
		f.Add(name != "zstd", whole[name])
	}
	// A frame that says it holds 2^40 bytes, and one with a window of a gigabyte.
	f.Add(true, []byte("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x01\x00\x00\x01\x00\x00"))
	f.Add(true, []byte("\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, second bool, body []byte) {
		defer need.Brief(t)()
		name := "gzip"
		if second {
			name = "zstd"
		}
		d := inflaters[name]
		if err := d.Reset(bytes.NewReader(body)); err == nil {
			if n, err := io.Copy(io.Discard, d); n > server.MaxInflated+1 {
				t.Fatalf("%s: %d bytes came out, error %v", name, n, err)
			}
		}
		if err := d.Reset(bytes.NewReader(whole[name])); err != nil {
			t.Fatalf("%s: afterwards: %v", name, err)
		}
		if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, words) {
			t.Fatalf("%s: afterwards: %d bytes, error %v", name, len(got), err)
		}
	})
}
