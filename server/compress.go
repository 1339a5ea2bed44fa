package server

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"sync"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/zstd"
)

// compressions are zstd for devices and gzip for whoever has nothing better. What
// inflates beyond the bound of a request is broken off there, not inflated to its
// end.
func compressions() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithCompression("gzip", newGzipInflater, func() connect.Compressor { return gzip.NewWriter(io.Discard) }),
		connect.WithCompression("zstd", newZstdInflater, newZstdDeflater),
		// What is shorter is hashes and ids for the most part, and grows.
		connect.WithCompressMinBytes(512),
	}
}

var errBomb = errors.New("the request inflates beyond what a request may hold")

// inflater reads what another reader inflates, up to the bound. Its Close keeps it
// usable: the pool that it lives in resets it.
type inflater struct {
	reset func(io.Reader) (io.Reader, error)
	r     io.Reader
	left  int
}

// Read implements io.Reader.
func (i *inflater) Read(p []byte) (int, error) {
	if i.left <= 0 {
		return 0, errBomb
	}
	n, err := i.r.Read(p[:min(len(p), i.left)])
	i.left -= n
	return n, err
}

// Reset implements connect.Decompressor.
func (i *inflater) Reset(r io.Reader) (err error) {
	// One byte more than the bound shows connect that it is exceeded.
	i.left = maxInflated + 1
	i.r, err = i.reset(r)
	return err
}

// Close implements connect.Decompressor.
func (i *inflater) Close() error { return nil }

func resetGzip() func(io.Reader) (io.Reader, error) {
	var z gzip.Reader
	return func(r io.Reader) (io.Reader, error) { return &z, z.Reset(r) }
}

func newGzipInflater() connect.Decompressor { return &inflater{reset: resetGzip()} }

// inflaterPool keeps inflaters that nobody uses. Safe for concurrent use.
type inflaterPool struct {
	make func() connect.Decompressor
	idle sync.Pool
}

func (p *inflaterPool) get() connect.Decompressor {
	if z, ok := p.idle.Get().(connect.Decompressor); ok {
		return z
	}
	return p.make()
}

func (p *inflaterPool) put(z connect.Decompressor) {
	// What it read last is not kept. That nothing is no gzip is no matter.
	_ = z.Reset(http.NoBody)
	p.idle.Put(z)
}

func newZstdInflater() connect.Decompressor {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxInflated+1), zstd.WithDecoderMaxWindow(maxInflated))
	if err != nil {
		// The options are constants; a test makes one.
		panic(err)
	}
	return &inflater{reset: func(r io.Reader) (io.Reader, error) { return d, d.Reset(r) }}
}

func newZstdDeflater() connect.Compressor {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err)
	}
	return e
}
