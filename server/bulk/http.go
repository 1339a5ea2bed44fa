package bulk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Handler answers under /fhir/. Whoever asks has signed in.
func (e *Exports) Handler(p *people.People) http.Handler {
	mux := http.NewServeMux()
	for _, method := range []string{"GET", "POST"} {
		mux.HandleFunc(method+" /fhir/$export", func(w http.ResponseWriter, r *http.Request) { e.kickOff(w, r, Request{}) })
		mux.HandleFunc(method+" /fhir/Patient/$export", func(w http.ResponseWriter, r *http.Request) { e.kickOff(w, r, Request{Types: ofPeople}) })
		mux.HandleFunc(method+" /fhir/Group/{program}/$export", func(w http.ResponseWriter, r *http.Request) {
			e.kickOff(w, r, Request{Types: ofPeople, Program: r.PathValue("program")})
		})
	}
	mux.HandleFunc("GET /fhir/export/{id}", e.status)
	mux.HandleFunc("DELETE /fhir/export/{id}", e.remove)
	mux.HandleFunc("GET /fhir/export/{id}/{name}", e.file)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		outcome(w, http.StatusNotFound, "not-found", "there is nothing here")
	})
	return p.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	}))
}

// ofPeople are the types of what is about people.
var ofPeople = slices.DeleteFunc(slices.Clone(export.Resources), func(typ string) bool {
	return slices.Contains(strings.Fields("AuditEvent CareTeam CodeSystem HealthcareService Location Organization Practitioner PractitionerRole Questionnaire"), typ)
})

// outcome is what is said where there is nothing else to say.
func outcome(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/fhir+json")
	w.WriteHeader(status)
	severity := "error"
	if status < http.StatusBadRequest {
		severity = "information"
	}
	say(w, map[string]any{
		"resourceType": "OperationOutcome", "issue": []any{map[string]any{"severity": severity, "code": code, "diagnostics": text}},
	})
}

// say writes JSON, of which all can be written that is said here.
func say(w io.Writer, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte("{}")
	}
	// The error of writing is that of the connection.
	_, _ = w.Write(text)
}

// refuse says why not.
func (e *Exports) refuse(w http.ResponseWriter, err error) {
	if _, ok := errors.AsType[*server.InvalidError](err); ok {
		outcome(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	switch {
	case errors.Is(err, ErrNone), errors.Is(err, export.ErrProgram):
		outcome(w, http.StatusNotFound, "not-found", err.Error())
	case errors.Is(err, ErrRunning):
		w.Header().Set("Retry-After", "30")
		outcome(w, http.StatusTooManyRequests, "throttled", err.Error())
	case errors.Is(err, ErrElsewhere):
		outcome(w, http.StatusServiceUnavailable, "transient", err.Error())
	case errors.Is(err, export.ErrForbidden), errors.Is(err, export.ErrLeadFormat), errors.Is(err, export.ErrApproval), errors.Is(err, export.ErrApprover):
		outcome(w, http.StatusForbidden, "forbidden", err.Error())
	case export.Refused(err), errors.Is(err, ErrKey), errors.Is(err, ErrMixedKeys):
		outcome(w, http.StatusBadRequest, "invalid", err.Error())
	default:
		e.o.Log.Error().Err(err).Msg("export not answered")
		outcome(w, http.StatusInternalServerError, "exception", "the server could not do that: try again later")
	}
}

// errAsync says that the answer comes later.
var errAsync = errors.New(`the answer comes later: send the header "Prefer: respond-async"`)

// errUntil says why that is not answered: in the standard's words a record counts by its last
// change.
var errUntil = errors.New("_until is not answered: an export is of the moment in which it is made, and a record that has changed since _until would be missing from it; ask without it")

// kickOff begins an export.
func (e *Exports) kickOff(w http.ResponseWriter, r *http.Request, ask Request) {
	prefer := strings.Join(r.Header.Values("Prefer"), ",")
	if !strings.Contains(prefer, "respond-async") {
		outcome(w, http.StatusBadRequest, "required", errAsync.Error())
		return
	}
	values := r.URL.Query()
	if r.Method == http.MethodPost {
		posted, err := parameters(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			outcome(w, http.StatusBadRequest, "structure", err.Error())
			return
		}
		for name, all := range posted {
			values[name] = append(values[name], all...)
		}
	}
	if err := ask.read(values, strings.Contains(prefer, "handling=lenient")); err != nil {
		outcome(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	who := people.FromContext(r.Context())
	ask.Format, ask.URL = export.FHIR, base(r)+r.URL.RequestURI()
	id, err := e.Ask(r.Context(), who.Org, who.Staff, ask)
	if err != nil {
		e.refuse(w, err)
		return
	}
	w.Header().Set("Content-Location", base(r)+"/fhir/export/"+id.String())
	outcome(w, http.StatusAccepted, "informational", "the export has been asked for")
}

// base is the address under which the server was asked.
func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// parameters reads those of a POST: a FHIR Parameters resource, or nothing.
func parameters(body io.Reader) (url.Values, error) {
	var res struct {
		ResourceType string           `json:"resourceType"`
		Parameter    []map[string]any `json:"parameter"`
	}
	err := json.NewDecoder(body).Decode(&res)
	if errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // Nothing was posted.
	}
	if err != nil || res.ResourceType != "Parameters" {
		return nil, errors.New("the body is no FHIR Parameters resource in JSON")
	}
	values := url.Values{}
	for _, p := range res.Parameter {
		name, _ := p["name"].(string)
		for key, value := range p {
			if strings.HasPrefix(key, "value") {
				values.Add(name, fmt.Sprint(value))
			}
		}
	}
	return values, nil
}

// read takes what is asked from the parameters.
func (r *Request) read(values url.Values, lenient bool) error {
	for name, all := range values {
		value := strings.Join(all, ",")
		switch name {
		case "_type":
			r.Types = strings.Split(value, ",")
		case "_since":
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil || at.UnixMilli() <= 0 {
				return errors.New("_since is no instant")
			}
			r.SinceMS = at.UnixMilli()
		case "_outputFormat":
			if !slices.Contains([]string{"application/fhir+ndjson", "application/ndjson", "ndjson"}, value) {
				return errors.New("_outputFormat: only application/fhir+ndjson is made")
			}
		case "manifest":
			if value != "stu3" && value != "stu4" {
				return errors.New("manifest is stu3 or stu4")
			}
			r.Manifest = value
		case "purpose":
			r.Purpose = value
		case "recipient":
			r.Recipient = value
		case "basis":
			r.Basis = value
		case "to_age":
			r.ToAge = strings.FieldsFunc(value, func(c rune) bool { return c == ',' || c == ' ' })
		case "notes":
			r.Notes = value == "true"
		case "_until":
			if !lenient {
				return errUntil
			}
		default:
			if !lenient {
				return fmt.Errorf("the parameter %.40q is not known here", name)
			}
		}
	}
	return nil
}

// asked is the export that a request names.
func (e *Exports) asked(r *http.Request) (*store.Job, *Request, *Done, error) {
	id, err := syncengine.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, nil, nil, ErrNone
	}
	who := people.FromContext(r.Context())
	j, ask, done, err := e.Get(r.Context(), who.Org, who.Staff, id)
	if err != nil {
		return nil, nil, nil, err
	}
	// Whoever asked may have lost the right since; more people than then may be made since,
	// too, which changes nothing of what was made.
	o, err := ask.options(j.ID, who.Staff)
	if err == nil {
		err = export.Allowed(r.Context(), e.store, who.Org, o)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return j, ask, done, nil
}

// status says how far it is, and where the files are.
func (e *Exports) status(w http.ResponseWriter, r *http.Request) {
	j, ask, done, err := e.asked(r)
	switch {
	case err != nil:
		e.refuse(w, err)
	case j.Failed:
		outcome(w, http.StatusInternalServerError, "exception", j.Error)
	case done == nil:
		w.Header().Set("X-Progress", strconv.FormatInt(j.Progress, 10)+" records")
		w.Header().Set("Retry-After", "2")
		outcome(w, http.StatusAccepted, "informational", "the export is being made")
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Expires", time.UnixMilli(j.EndedMS).Add(e.o.Keep).UTC().Format(http.TimeFormat))
		say(w, manifest(base(r), j, ask, done))
	}
}

// manifest is the answer to a finished export.
func manifest(at string, j *store.Job, ask *Request, done *Done) map[string]any {
	output, deleted := []any{}, []any{}
	for _, f := range done.Manifest.Files {
		typ, ndjson := strings.CutSuffix(f.Name, ".ndjson")
		if !ndjson {
			continue
		}
		typ, _, _ = strings.Cut(typ, ".")
		entry := map[string]any{"type": typ, "url": at + "/fhir/export/" + j.ID.String() + "/" + ask.FileName(f.Name), "count": f.Rows}
		if ask.Manifest == "stu4" {
			entry["fileSize"] = done.AsFetched(f).Bytes
		}
		if typ == "deleted" {
			entry["type"] = "Bundle"
			deleted = append(deleted, entry)
			continue
		}
		output = append(output, entry)
	}
	m := map[string]any{
		"transactionTime": time.UnixMilli(done.AtMS).UTC().Format("2006-01-02T15:04:05.000Z"), "requiresAccessToken": true, "output": output, "deleted": deleted,
	}
	if ask.Manifest == "stu4" {
		m["manifestType"], m["outputFormat"], m["outcome"] = "export", "application/fhir+ndjson", []any{}
		return m
	}
	m["request"], m["error"] = ask.URL, []any{}
	return m
}

// file sends a file.
func (e *Exports) file(w http.ResponseWriter, r *http.Request) {
	j, ask, done, err := e.asked(r)
	if err == nil && done == nil {
		err = ErrNone
	}
	if err != nil {
		e.refuse(w, err)
		return
	}
	name := r.PathValue("name")
	f, err := e.Open(j.ID, ask, done, name)
	if err != nil {
		e.refuse(w, err)
		return
	}
	defer func() {
		// It was only read.
		_ = f.Close()
	}()
	media := "application/octet-stream"
	if strings.HasSuffix(name, ".ndjson") {
		media = "application/fhir+ndjson"
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Disposition", "attachment")
	w.Header().Set("ETag", strconv.Quote(f.Tag))
	// With its length and by ranges: half a file never looks whole, and what was broken off
	// goes on.
	http.ServeContent(w, r, "", time.Time{}, f)
}

// remove ends an export and removes it.
func (e *Exports) remove(w http.ResponseWriter, r *http.Request) {
	id, err := syncengine.ParseID(r.PathValue("id"))
	if err != nil {
		e.refuse(w, ErrNone)
		return
	}
	// Who has lost the right to export may still take back what they asked for.
	who := people.FromContext(r.Context())
	if err := e.Delete(r.Context(), who.Org, who.Staff, id); err != nil {
		e.refuse(w, err)
		return
	}
	outcome(w, http.StatusAccepted, "informational", "the export has been removed")
}
