package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"connectrpc.com/connect"
	"github.com/tandem-response/tandem/server/auth"
)

// Texts in place of those that the library makes up of a request: they would repeat
// what came in it.
var (
	errUnreadable  = errors.New("the request cannot be read: it is cut short, or no message of this service")
	errTooLarge    = errors.New("the request is larger than the server takes")
	errCompression = errors.New("the request is compressed in a way that the server does not know: use zstd or gzip")
	errOutOfTime   = errors.New("the time that the request gave itself is over")
	errOther       = errors.New("the server did not take the request")
)

// ownWords are the texts that an answer may hold.
var ownWords = func() map[string]bool {
	own := map[string]bool{}
	for _, err := range []error{
		errUnreadable, errTooLarge, errCompression, errOutOfTime, errOther, errInternal, errBusy,
		errOverloaded, errCrowded, errElements, errSlow, errStarting, auth.ErrBusy,
		auth.ErrCertificate, auth.ErrProof, auth.ErrNonce,
	} {
		own[err.Error()] = true
	}
	for _, c := range codes {
		if c.says != nil {
			own[c.says.Error()] = true
		} else {
			own[c.err.Error()] = true
		}
	}
	return own
}()

// instead is what a refusal of the library's becomes. What the sender alone has done
// wrong is no fault of the server.
func instead(code string, status int) (string, int, error) {
	switch code {
	case connect.CodeInvalidArgument.String():
		return code, status, errUnreadable
	case connect.CodeUnknown.String():
		// The body did not come as it was announced.
		return connect.CodeInvalidArgument.String(), http.StatusBadRequest, errUnreadable
	case connect.CodeResourceExhausted.String():
		return code, status, errTooLarge
	case connect.CodeUnimplemented.String():
		return code, http.StatusUnsupportedMediaType, errCompression
	case connect.CodeDeadlineExceeded.String():
		return code, http.StatusRequestTimeout, errOutOfTime
	}
	return code, status, errOther
}

// worded lets an error leave in the server's own words, fixed ones.
func worded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held := &wordedWriter{ResponseWriter: w}
		next.ServeHTTP(held, r)
		held.end()
	})
}

// wordedWriter holds an error back until it is whole; all else passes.
type wordedWriter struct {
	http.ResponseWriter

	status int
	held   bytes.Buffer
}

// maxErrorBody bounds what is held; the library's errors are short.
const maxErrorBody = 64 << 10

// WriteHeader implements http.ResponseWriter.
func (w *wordedWriter) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.status = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *wordedWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		return w.ResponseWriter.Write(p)
	}
	if w.held.Len()+len(p) <= maxErrorBody {
		w.held.Write(p)
	}
	return len(p), nil
}

// Unwrap lets http.ResponseController reach the writer beneath.
func (w *wordedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w *wordedWriter) Flush() {
	if w.status == 0 {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
}

func (w *wordedWriter) end() {
	for _, name := range []string{"Grpc-Message", http.TrailerPrefix + "Grpc-Message"} {
		for _, said := range w.Header()[name] {
			if text, err := url.PathUnescape(said); err != nil || !ownWords[text] {
				w.Header()[name] = []string{url.PathEscape(errOther.Error())}
			}
		}
	}
	if w.status == 0 {
		return
	}
	body := w.held.Bytes()
	var refusal struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &refusal) == nil && refusal.Code != "" && !ownWords[refusal.Message] {
		var says error
		refusal.Code, w.status, says = instead(refusal.Code, w.status)
		refusal.Message = says.Error()
		if fixed, err := json.Marshal(refusal); err == nil {
			body = fixed
			w.Header().Del("Content-Length")
		}
	}
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = w.ResponseWriter.Write(body)
}
