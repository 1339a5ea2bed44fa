package server_test

import (
	"bytes"
	"crypto/ed25519"
	"net/http"
	"slices"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
)

// matrixCalls says of each call of the contract who comes past the door: "code" is
// anyone, because a one-time code is what is asked for inside; "device" is a replica
// that proves its key; "receipt" is anyone, because a signature is what is asked for
// inside, of a key that is gone by then. What a caller may do inside is testdata/matrix.txt's affair.
var matrixCalls = map[string]string{
	"/tandem.v1.EnrollService/Enroll":     "code",
	"/tandem.v1.EnrollService/Reinstance": "device",
	"/tandem.v1.EnrollService/Rekey":      "device",
	"/tandem.v1.EnrollService/Wiped":      "receipt",
	"/tandem.v1.SyncService/Sync":         "device",
	"/tandem.v1.SyncService/Reconcile":    "device",
	"/tandem.v1.SyncService/Deliver":      "device",
	"/tandem.v1.SyncService/Audit":        "device",
	"/tandem.v1.SyncService/BreakGlass":   "device",
	"/tandem.v1.SyncService/PutBlobChunk": "device",
	"/tandem.v1.SyncService/GetBlobChunk": "device",
}

// TestMatrixCalls makes every call of the contract as everyone who could: a stranger, a
// thief with somebody's certificate, someone who signs for another address, and each role.
// A call without a row fails.
func TestMatrixCalls(t *testing.T) { each(t, testMatrixCalls) }

func testMatrixCalls(t *testing.T, on engine) {
	t.Parallel()
	w := newWorld(t, on, 72)
	callers := map[string]*way{"stranger": {base: w.newDevice(60).way.base}}
	for i, role := range matrixRoles[:len(matrixRoles)-1] {
		agency := w.agency
		if role == "le_partner" {
			agency = w.police
		}
		d := w.enrolled(byte(i+1), must[syncengine.ID](t)(w.admin.AddStaff(t.Context(), server.StaffOptions{
			Name: "Person", Discipline: "nurse", Roles: []string{role}, Agency: agency, Teams: []syncengine.ID{w.team},
		})))
		callers[role] = d.way
		if role == "clinician" {
			other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{61}, ed25519.SeedSize))
			callers["thief"] = &way{base: d.way.base, key: other, certificate: d.way.certificate, nonce: d.way.nonce}
			callers["elsewhere"] = &way{base: d.way.base, key: d.key, certificate: d.way.certificate, nonce: d.way.nonce}
		}
	}
	services, seen := tandemv1.File_tandem_v1_sync_proto.Services(), 0
	for i := range services.Len() {
		for k := range services.Get(i).Methods().Len() {
			method := services.Get(i).Methods().Get(k)
			path := "/" + string(method.Parent().FullName()) + "/" + string(method.Name())
			asks, ok := matrixCalls[path]
			if !ok {
				t.Errorf("%s has no row: say who may call it", path)
				continue
			}
			seen++
			for name, caller := range callers {
				t.Run(path[1:]+"/"+name, func(t *testing.T) {
					known := slices.Contains(matrixRoles, name)
					if name == "elsewhere" {
						// Signed for one call, sent to another.
						caller = signedElsewhere(caller, path)
					}
					status := postEmpty(t, w.http.URL+path, caller)
					let := status != http.StatusUnauthorized && status != http.StatusForbidden
					if want := known || asks != "device"; let != want || status >= 500 {
						t.Errorf("status %d; let in: %t, want %t", status, let, want)
					}
				})
			}
		}
	}
	if seen != len(matrixCalls) {
		t.Errorf("%d calls in the contract, %d rows", seen, len(matrixCalls))
	}
}

// signedElsewhere is a caller whose proof is for another call than the one it goes to.
func signedElsewhere(y *way, path string) *way {
	return &way{base: redirecting{y.base, path}, key: y.key, certificate: y.certificate, nonce: y.nonce}
}

// redirecting sends every request to one path.
type redirecting struct {
	base http.RoundTripper
	path string
}

// RoundTrip implements http.RoundTripper.
func (r redirecting) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.Path = r.path
	return r.base.RoundTrip(req)
}

// postEmpty makes a call with an empty message; "elsewhere" signs for another path.
func postEmpty(t *testing.T, url string, caller *way) int {
	t.Helper()
	if r, ok := caller.base.(redirecting); ok {
		url = url[:len(url)-len(r.path)] + "/tandem.v1.SyncService/Another"
	}
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody))
	req.Header.Set("Content-Type", "application/proto")
	req.Header.Set("Connect-Protocol-Version", "1")
	resp, err := caller.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}
