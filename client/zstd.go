package client

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/zstd"
)

// Bounds of one answer, as it comes and inflated. The server's largest page is a
// megabyte and a row; outcomes come on top.
const (
	maxWire     = 8 << 20
	maxInflated = 16 << 20
)

var errBomb = errors.New("an answer inflates beyond all measure")

// zstdOptions make zstd the only compression of a client.
func zstdOptions() []connect.ClientOption {
	return []connect.ClientOption{
		connect.WithAcceptCompression("gzip", nil, nil),
		connect.WithAcceptCompression("zstd", newInflater, newDeflater),
		connect.WithSendCompression("zstd"),
		// What is shorter is hashes and ids for the most part, and grows.
		connect.WithCompressMinBytes(512),
		connect.WithReadMaxBytes(maxInflated),
	}
}

// encoder is of the whole process: its tables take more than a megabyte, and many devices
// may be open in one. Two batches are compressed at once, others wait.
var encoder = newEncoder()

func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(512<<10))
	if err != nil {
		// The options are constants; a test makes one.
		panic(err)
	}
	// It makes its channel with the first call. Made within a test that has a clock of
	// its own, no other test could use it.
	e.EncodeAll(nil, nil)
	return e
}

func newDeflater() connect.Compressor { return &deflater{} }

// deflater makes a frame of what it is given at once, which is a whole message:
// nothing of it is copied to be seen again by what follows. Frames may follow each
// other.
type deflater struct {
	frame []byte
	w     io.Writer
}

// Write implements io.Writer.
func (d *deflater) Write(p []byte) (int, error) {
	d.frame = encoder.EncodeAll(p, d.frame[:0])
	if _, err := d.w.Write(d.frame); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Reset implements connect.Compressor.
func (d *deflater) Reset(w io.Writer) { d.w = w }

// Close implements connect.Compressor.
func (d *deflater) Close() error { return nil }

func newInflater() connect.Decompressor {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflated), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		panic(err)
	}
	return &inflater{decoder: d}
}

// inflater is a decoder that stops at the bound instead of inflating to the end.
// Its Close leaves it usable: the pool that it lives in resets it. The decoder is not
// embedded, since its WriteTo would go past the bound.
type inflater struct {
	decoder *zstd.Decoder
	left    int
}

// Read implements io.Reader.
func (i *inflater) Read(p []byte) (int, error) {
	if i.left <= 0 {
		return 0, errBomb
	}
	n, err := i.decoder.Read(p[:min(len(p), i.left)])
	i.left -= n
	return n, err
}

// Reset implements connect.Decompressor.
func (i *inflater) Reset(r io.Reader) error {
	i.left = maxInflated + 1
	return i.decoder.Reset(r)
}

// Close implements connect.Decompressor.
func (i *inflater) Close() error { return nil }

// unpackers are inflaters that nobody uses.
var unpackers = sync.Pool{New: func() any { return newInflater() }}

// unpack inflates the frames of an answer, up to the bound of one.
func unpack(packed []byte) ([]byte, error) {
	z, ok := unpackers.Get().(connect.Decompressor)
	if !ok {
		z = newInflater()
	}
	defer unpackers.Put(z)
	if err := z.Reset(bytes.NewReader(packed)); err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
