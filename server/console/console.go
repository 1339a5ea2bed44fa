package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/jobs"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/server/report"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

//go:embed pages
var files embed.FS

// Options are the seams of a console; the zero value is the system's clock and chance.
type Options struct {
	// Log takes what goes wrong: no names, no content.
	Log zerolog.Logger
	// Clock is the wall clock; nil is the system's. Rand makes ids; nil is crypto/rand's.
	Clock func() time.Time
	Rand  io.Reader
	// Exports makes exports; nil: none are made here.
	Exports *bulk.Exports
	// Jobs does what recurs (reminders, snapshots of metrics, the count of what is past its
	// retention), and is shown to admins; nil for none.
	Jobs *jobs.Worker
	// Counting bounds how long a page counts what an export would hold; 0 is 25 s.
	Counting time.Duration
}

// Bounds of what browsers ask for at once.
const (
	maxForm     = 256 << 10
	formTimeout = 30 * time.Second
	// open is how many pages are made at once, queue how long one waits for its turn,
	// maxFollow how many pages wait for news.
	open      = 32
	queue     = 5 * time.Second
	maxFollow = 4096
)

// Console is the pages under /console/. It is an http.Handler, safe for concurrent use.
type Console struct {
	o      Options
	srv    *server.Server
	store  *store.Store
	people *people.People
	domain *record.Domain
	pages  map[string]*template.Template
	inner  http.Handler

	counts    *counts
	turns     chan struct{}
	following atomic.Int64
	// working holds one lock an org: work is worked out by one goroutine at a time.
	workingMu sync.Mutex
	working   map[syncengine.ID]chan struct{}
	// asking are the orgs for which a purge is being asked for.
	asking sync.Map
	// opened are pages that were noted as opened, by session, page and what it is about.
	openedMu sync.Mutex
	opened   map[string]bool
}

// New returns the console of a server, over its store.
func New(srv *server.Server, st *store.Store, o Options) (*Console, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Counting <= 0 {
		o.Counting = counting
	}
	c := &Console{
		o: o, srv: srv, store: st, people: srv.People(), domain: record.New(), pages: map[string]*template.Template{},
		counts: newCounts(o.Log, srv.Ending(), o.Clock),
		turns:  make(chan struct{}, open), working: map[syncengine.ID]chan struct{}{}, opened: map[string]bool{},
	}
	for _, lang := range web.Langs {
		t, err := web.Templates(lang, words, files, "pages/*.html")
		if err != nil {
			return nil, err
		}
		c.pages[lang] = t
	}
	c.inner = c.routes()
	if o.Jobs != nil {
		c.upkeep(o.Jobs)
		c.purging(o.Jobs)
	}
	return c, nil
}

// base is the address that all links are relative to.
const base = "/console/"

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	web.Headers(w.Header())
	// "no-referrer" would make some browsers send "Origin: null" with a form.
	w.Header().Set("Referrer-Policy", "same-origin")
	if r.Method == http.MethodPost {
		// Where the deadline cannot be set the server's own holds.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTimeout))
		most := int64(maxForm)
		if uploads[r.URL.Path] {
			most = maxUpload
		}
		r.Body = http.MaxBytesReader(w, r.Body, most)
	}
	defer func() {
		if fault := recover(); fault != nil {
			if fault == http.ErrAbortHandler { //nolint:errorlint // It is that very value.
				panic(fault)
			}
			// What panicked may hold anything.
			c.o.Log.Error().Str("panic", fmt.Sprintf("%T", fault)).Bytes("stack", debug.Stack()).Msg("a page of the console failed")
			http.Error(w, "the server has failed; its operator finds the reason in its log", http.StatusInternalServerError)
		}
	}()
	c.inner.ServeHTTP(w, r)
}

// area is who a page is for.
type area int

const (
	anybody area = iota
	leads
	admins
	// desks are both.
	desks
)

func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, p := range map[string]struct {
		who area
		do  func(*visit) error
	}{
		"GET /console/{$}":            {anybody, (*visit).home},
		"POST /console/settings/lang": {anybody, (*visit).setLang}, "POST /console/settings/theme": {anybody, (*visit).setTheme},

		"GET /console/queue":                    {leads, (*visit).queue},
		"GET /console/case/{id}":                {leads, (*visit).casePage},
		"GET /console/record/{id}":              {leads, (*visit).recordPage},
		"POST /console/record/{id}/review":      {leads, (*visit).review},
		"POST /console/record/{id}/settle":      {leads, (*visit).settle},
		"POST /console/record/{id}/approve":     {leads, (*visit).approve},
		"POST /console/record/{id}/extend":      {leads, (*visit).extend},
		"POST /console/record/{id}/reopen":      {leads, (*visit).reopen},
		"POST /console/record/{id}/assign":      {leads, (*visit).assign},
		"POST /console/record/{id}/unmerge":     {leads, (*visit).unmerge},
		"GET /console/same/{id}/{other}":        {leads, (*visit).same},
		"POST /console/same/{id}/{other}/merge": {leads, (*visit).mergePeople},
		"POST /console/same/{id}/{other}/apart": {leads, (*visit).keepApart},
		"GET /console/quarantine":               {leads, (*visit).quarantine},
		"GET /console/quarantine/{id}":          {leads, (*visit).quarantined},
		"POST /console/quarantine/{id}/release": {leads, (*visit).release},
		"POST /console/quarantine/{id}/dismiss": {leads, (*visit).dismiss},
		"POST /console/quarantine/{id}/replace": {leads, (*visit).replace},
		"GET /console/episodes":                 {leads, (*visit).episodes},
		"GET /console/referrals":                {leads, (*visit).referrals},

		"GET /console/exports":                 {desks, (*visit).exports},
		"POST /console/exports":                {desks, (*visit).addExport},
		"POST /console/exports/count":          {desks, (*visit).countExport},
		"GET /console/exports/{id}":            {desks, (*visit).exportPage},
		"POST /console/exports/{id}/delete":    {desks, (*visit).deleteExport},
		"GET /console/approvals/{id}":          {desks, (*visit).approvalPage},
		"POST /console/approvals/{id}/approve": {desks, (*visit).approveExport},
		"POST /console/approvals/{id}/refuse":  {desks, (*visit).refuseExport},

		"GET /console/team":                 {leads, (*visit).team},
		"GET /console/outcomes":             {desks, (*visit).outcomes},
		"POST /console/outcomes":            {desks, (*visit).countOutcomes},
		"GET /console/outcomes.csv":         {desks, (*visit).outcomesCSV},
		"GET /console/outcomes.json":        {desks, (*visit).outcomesJSON},
		"POST /console/outcomes/population": {admins, (*visit).setPopulation},
		"GET /console/publish":              {admins, (*visit).publishPage},
		"POST /console/publish":             {admins, (*visit).publish},

		"GET /console/setup":                {admins, (*visit).setup},
		"POST /console/setup/program":       {admins, (*visit).addProgram},
		"POST /console/setup/team":          {admins, (*visit).addTeam},
		"GET /console/staff":                {admins, (*visit).staff},
		"POST /console/staff":               {admins, (*visit).addStaff},
		"GET /console/staff/{id}":           {admins, (*visit).staffPage},
		"POST /console/staff/{id}":          {admins, (*visit).setStaff},
		"POST /console/staff/{id}/device":   {admins, (*visit).enrolCode},
		"POST /console/staff/{id}/account":  {admins, (*visit).accountCode},
		"POST /console/staff/{id}/sessions": {admins, (*visit).endSessions},
		"POST /console/staff/{id}/revoke":   {admins, (*visit).revokeStaff},
		"GET /console/devices":              {admins, (*visit).devices},
		"GET /console/devices/{id}":         {admins, (*visit).devicePage},
		"POST /console/devices/{id}":        {admins, (*visit).actOnDevice},
		"GET /console/audit":                {admins, (*visit).auditPage},

		"GET /console/forms":                 {admins, (*visit).forms},
		"POST /console/forms":                {admins, (*visit).addForm},
		"POST /console/forms/import":         {admins, (*visit).importForm},
		"GET /console/forms/{id}":            {admins, (*visit).formPage},
		"GET /console/forms/{id}/preview":    {admins, (*visit).previewForm},
		"GET /console/forms/{id}/file":       {admins, (*visit).formFile},
		"POST /console/forms/{id}/head":      {admins, (*visit).setFormHead},
		"POST /console/forms/{id}/copy":      {admins, (*visit).copyForm},
		"POST /console/forms/{id}/publish":   {admins, (*visit).publishForm},
		"POST /console/forms/{id}/retire":    {admins, (*visit).retireForm},
		"POST /console/forms/{id}/void":      {admins, (*visit).voidForm},
		"GET /console/forms/{id}/item":       {admins, (*visit).itemPage},
		"POST /console/forms/{id}/item":      {admins, (*visit).setItem},
		"POST /console/forms/{id}/item/drop": {admins, (*visit).dropItem},
		"POST /console/forms/{id}/item/move": {admins, (*visit).moveItem},
		"GET /console/forms/{id}/score":      {admins, (*visit).scorePage},
		"POST /console/forms/{id}/score":     {admins, (*visit).setScore},
		"GET /console/codes":                 {admins, (*visit).codes},
		"POST /console/codes":                {admins, (*visit).setCode},
		"GET /console/directory":             {admins, (*visit).directoryPage},
		"POST /console/directory":            {admins, (*visit).previewDirectory},
		"POST /console/directory/apply":      {admins, (*visit).applyDirectory},
		"GET /console/readiness":             {admins, (*visit).readiness},
		"POST /console/readiness":            {admins, (*visit).addAssessment},
		"GET /console/readiness/new":         {admins, (*visit).assess},
		"GET /console/readiness/{id}":        {admins, (*visit).assessment},
		"GET /console/passed-on":             {admins, (*visit).passedOn},
		"GET /console/disclosures/{id}":      {leads, (*visit).disclosures},
		"GET /console/jobs":                  {admins, (*visit).jobsPage},
		"POST /console/jobs":                 {admins, (*visit).runJob},
		"GET /console/backups":               {admins, (*visit).backups},
		"GET /console/retention":             {admins, (*visit).retention},
		"POST /console/retention":            {admins, (*visit).setRetention},
		"POST /console/retention/hold":       {admins, (*visit).placeHold},
		"POST /console/retention/{id}/lift":  {admins, (*visit).liftHold},
		"GET /console/purges":                {admins, (*visit).purges},
		"POST /console/purges":               {admins, (*visit).askPurge},
		"GET /console/purges/{id}":           {admins, (*visit).purgePage},
		"POST /console/purges/{id}":          {admins, (*visit).decidePurge},
	} {
		mux.HandleFunc(pattern, c.page(p.who, p.do))
	}
	mux.HandleFunc("GET /console/live", c.live)
	mux.HandleFunc("/console/", c.page(anybody, func(*visit) error { return errAbsent }))
	inside := c.people.Require(mux)
	outer := http.NewServeMux()
	outer.Handle("GET /console/static/", web.Static())
	outer.HandleFunc("GET /console/static/report.css", report.ServeStyle)
	outer.Handle("/", inside)
	return outer
}

// slowest is how long a page may take to be made and taken.
const slowest = 30 * time.Second

// page makes the handler of a page.
func (c *Console) page(who area, do func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// The form is read before its turn comes, and what takes long to be taken gives the
		// turn back: who is slow keeps nobody else out.
		parsed := r.ParseForm()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(queue + slowest))
		ctx, cancel := context.WithTimeout(r.Context(), queue)
		defer cancel()
		select {
		case c.turns <- struct{}{}:
			defer func() { <-c.turns }()
		case <-ctx.Done():
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many pages are asked for at once: try again in a moment", http.StatusServiceUnavailable)
			return
		}
		v := c.visit(w, r)
		var err error
		if parsed != nil {
			err = errForm
		}
		if err == nil {
			err = v.allowed(who)
		}
		if err == nil {
			err = do(v)
		}
		if err != nil {
			v.fail(err)
		}
	}
}

// Errors of pages.
var (
	// errAbsent: there is nothing, or nothing that this person may see.
	errAbsent = errors.New("there is nothing here that this person may see")
	// errArea: the page is for another role.
	errArea       = errors.New("this page is for another role")
	errLong       = errors.New("the file is too long")
	errForm       = errors.New("the form cannot be read")
	errRecovering = errors.New("the server is in recovery")
)
