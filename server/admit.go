package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/tandem-response/tandem/server/auth"
	"github.com/tandem-response/tandem/syncengine"
)

// What a request is told that the server does not take now.
var (
	// errOverloaded: there is too much to do.
	errOverloaded = errors.New("the server has too much to do: nothing was done, try again later")
	// errCrowded: the device itself asks for too much at once.
	errCrowded = errors.New("this device has too many requests open: wait for their answers")
	// errSlow: the body does not come.
	errSlow = errors.New("the request came too slowly: nothing was done, try again")
	// errStarting and errEnding: the server is not there yet, or no longer.
	errStarting = errors.New("the server is starting: nothing was done, try again in a moment")
)

const (
	// A body has this long, and a second more for each so many bytes that have come:
	// half of what a device calls a link at all.
	bodyGrace, bodySpeed = time.Minute, 300
	// leftover is how long the rest of a body may take that nobody reads any more: the
	// connection may be used again after it.
	leftover = 2 * time.Second
	// chunk is how much of a body is read at once.
	chunk = 16 << 10
	// baseWork is what a request takes beside its body, workFactor how many times its
	// inflated body: inflated, decoded, answered.
	baseWork, workFactor = 64 << 10, 3
	// inflation is what a body is first taken to inflate to.
	inflation = 4
	// maxPageBytes bounds what is set aside for an answer.
	maxPageBytes = 1 << 20
	// enrolments is how many requests of nobody known may be open at once.
	enrolments = 64
)

type visitKey struct{}

// visitOf is the request's visit; nil where nobody has let it in.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// admitted lets requests in by their turn. What stands further in finds the body read
// and inflated, so that a slow sender holds nothing but what it has sent.
func (s *Server) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		device, limit := syncengine.ID{}, enrolments
		if id := auth.FromContext(r.Context()); id != nil {
			device, limit = id.Replica, s.admission.PerDevice
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		control := http.NewResponseController(w)
		v, err := s.admission.enter(device, limit, brings(r.Header), func() {
			cancel()
			_ = control.SetReadDeadline(time.Now())
		})
		if err == nil {
			defer v.end()
			r = r.WithContext(context.WithValue(ctx, visitKey{}, v))
			_, let := s.span(ctx, "admission")
			err = v.admit(control, r)
			let(err)
		}
		if v != nil {
			s.metrics.queued(v.queued)
		}
		if err != nil {
			// What is left of the body is waited for no longer than that.
			_ = control.SetReadDeadline(time.Now().Add(leftover))
			s.turnAway(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// turnAway answers a request that was not let in.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	code, says, after := connect.CodeUnavailable, errOverloaded, leastHint
	if errors.Is(err, errElements) {
		_ = s.errorWriter.Write(w, r, connect.NewError(connect.CodeInvalidArgument, errElements))
		return
	}
	if o, ok := errors.AsType[*overload](err); ok {
		after = o.after
		switch o.reason {
		case refusedDevice:
			code, says = connect.CodeResourceExhausted, errCrowded
		case refusedSlow:
			says = errSlow
		}
		s.metrics.refused.WithLabelValues(o.reason).Inc()
	} else {
		code, says = connect.CodeCanceled, errGivenUp
	}
	w.Header().Set("Retry-After", retryIn(after))
	// The error of writing is that of the connection.
	_ = s.errorWriter.Write(w, r, connect.NewError(code, says))
}

// retryIn is a hint as the header wants it: whole seconds, at least one.
func retryIn(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// admit reads the body, waits for the request's turn and inflates the body. The error is
// an *overload, errElements, or that of the context.
func (v *visit) admit(control *http.ResponseController, r *http.Request) error {
	body, broke, err := v.read(control, r)
	if err != nil {
		return err
	}
	packed := r.Header.Get("Content-Encoding")
	work := int64(len(body))
	if _, known := v.a.inflaters[packed]; known {
		work *= inflation
	}
	if err := v.begin(r.Context(), baseWork+workFactor*min(work, maxInflated)); err != nil {
		return err
	}
	if broke == nil {
		plain, err := v.inflate(body, packed)
		if err != nil {
			return err
		}
		if plain != nil {
			v.received()
			body = plain
			if r.Header.Get("Accept-Encoding") == "" {
				// Who packs can unpack.
				r.Header.Set("Accept-Encoding", packed)
			}
			r.Header.Del("Content-Encoding")
			r.ContentLength = int64(len(body))
		}
	}
	if tooMany(r, body) {
		return errElements
	}
	r.Body = &readBody{Reader: *bytes.NewReader(body), broke: broke}
	return nil
}

// brings reports whether a device says of its request that it brings what was written
// (docs/protocol.md): an urgency before the usual one (RFC 9218, section 4.1). What says
// so without need comes before others only where the server has too much to do.
func brings(h http.Header) bool {
	for parameter := range strings.SplitSeq(h.Get("Priority"), ",") {
		switch strings.TrimSpace(parameter) {
		case "u=0", "u=1", "u=2":
			return true
		}
	}
	return false
}

// received gives back the room of the body as it came: nobody holds it any more.
func (v *visit) received() {
	v.a.mu.Lock()
	defer v.a.mu.Unlock()
	v.a.bodies -= v.body
	v.body = 0
}

// readBody is a body that has been read, with the error that it ended in; nil for none.
type readBody struct {
	bytes.Reader

	broke error
}

// Read implements io.Reader.
func (b *readBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) && b.broke != nil {
		err = b.broke
	}
	return n, err
}

// Close implements io.Closer.
func (b *readBody) Close() error { return nil }

// read reads the body, as long as it comes fast enough. broke is the error in which it
// ended, for whoever stands further in to say.
func (v *visit) read(control *http.ResponseController, r *http.Request) (body []byte, broke, err error) {
	if r.ContentLength == 0 {
		return nil, nil, nil
	}
	began := time.Now()
	var set time.Time
	for {
		if now := time.Now(); now.Sub(set) > time.Second {
			set = now
			// Where the connection knows no deadlines that of the whole request holds.
			_ = control.SetReadDeadline(began.Add(v.a.grace + time.Duration(len(body)/bodySpeed)*time.Second))
		}
		if len(body) == cap(body) {
			size := max(2*cap(body), chunk)
			if announced := r.ContentLength + 1; announced > int64(cap(body)) {
				size = int(min(int64(size), announced))
			}
			if err := v.receive(size - cap(body)); err != nil {
				return nil, nil, err
			}
			grown := make([]byte, len(body), size)
			copy(grown, body)
			body = grown
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			_ = control.SetReadDeadline(time.Time{})
			return body, nil, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// That it ended the context too says nothing.
			if err := v.over(context.WithoutCancel(r.Context())); err != nil {
				return nil, nil, err
			}
			return nil, nil, &overload{refusedSlow, leastHint}
		case err != nil && v.over(r.Context()) != nil:
			return nil, nil, v.over(r.Context())
		case err != nil:
			return body, err, nil
		}
	}
}

// newInflaters are for the ways in which a body may be packed.
func newInflaters() map[string]*inflaterPool {
	return map[string]*inflaterPool{"gzip": {make: newGzipInflater}, "zstd": {make: newZstdInflater}}
}

// inflate returns the body as it was before it was packed; nil where it is not packed,
// or not in a way that can be read: whoever stands further in says so. Room for what it
// becomes is made as it grows.
func (v *visit) inflate(body []byte, packed string) (plain []byte, err error) {
	pool := v.a.inflaters[packed]
	if pool == nil || len(body) == 0 {
		return nil, nil
	}
	z := pool.get()
	defer pool.put(z)
	if err := z.Reset(bytes.NewReader(body)); err != nil {
		return nil, nil
	}
	held := workFactor * min(int64(len(body))*inflation, maxInflated)
	plain = make([]byte, 0, min(inflation*len(body), maxInflated)+chunk)
	for {
		if len(plain) == cap(plain) {
			plain = append(plain, 0)[:len(plain)]
		}
		if want := workFactor * int64(cap(plain)); want > held {
			if err := v.grow(want - held); err != nil {
				return nil, err
			}
			held = want
		}
		n, err := z.Read(plain[len(plain):cap(plain)])
		plain = plain[:len(plain)+n]
		switch {
		case errors.Is(err, io.EOF) && len(plain) <= maxInflated:
			return plain, nil
		case err != nil || len(plain) > maxInflated:
			return nil, nil
		}
	}
}
