package auth

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"
)

type identityKey struct{}

// FromContext returns who the request comes from, nil where Middleware has not let
// it in.
func FromContext(ctx context.Context) *Identity {
	id, _ := ctx.Value(identityKey{}).(*Identity)
	return id
}

// Middleware lets requests in that come from a certified replica, before anything
// of their bodies is read, and puts its identity into their context. Every answer
// carries the newest nonce.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := v.Verify(r)
		w.Header().Set("DPoP-Nonce", v.Nonce())
		if err == nil {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
			return
		}
		code := connect.CodeUnauthenticated
		switch {
		case errors.Is(err, ErrNonce):
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce", algs="EdDSA"`)
		case errors.Is(err, ErrProof):
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof", algs="EdDSA"`)
		case errors.Is(err, ErrCertificate):
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token", algs="EdDSA"`)
		default:
			// The keys could not be read.
			code, err = connect.CodeUnavailable, ErrBusy
		}
		// The error of writing is that of the connection.
		_ = refuse.Write(w, r, connect.NewError(code, err))
	})
}
