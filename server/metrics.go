package server

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// Metrics counts what a server does, in the form that Prometheus reads. Its labels are
// fixed words and the ids of orgs and replicas: nothing of a person, and nothing that
// came in a request. Safe for concurrent use; its zero value is of no use.
type Metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	queue    prometheus.Histogram

	pushes, pulls *prometheus.CounterVec
	changes       *prometheus.CounterVec
	rows          prometheus.Counter

	commits       prometheus.Histogram
	commitWrites  prometheus.Histogram
	commitChanges prometheus.Histogram
}

// Results of a push, and what a pull was.
const (
	pushDone, pushFailed           = "committed", "failed"
	pullPage, pullWait, pullNoPage = "page", "wait", "none"
)

// NewMetrics returns the metrics of one server. Its Committed is for the store that the
// server is over, so both are made from the same Metrics.
func NewMetrics() *Metrics {
	name := func(name, help string) prometheus.Opts { return prometheus.Opts{Name: "tandem_" + name, Help: help} }
	counter := func(n, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(name(n, help)), labels)
	}
	histogram := func(n, help string, first, factor float64, count int) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: "tandem_" + n, Help: help, Buckets: prometheus.ExponentialBuckets(first, factor, count)}
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("requests_total", "Requests, by route and HTTP status.", "route", "status"),
		took: prometheus.NewHistogramVec(histogram("request_seconds", "Time from a request's arrival to the end of its answer, by route; waits for news are part of it.",
			0.001, 4, 9), []string{"route"}),
		refused: counter("refused_total", "Requests that were told to come back later, by reason: open, device, queue, bytes, slow.", "reason"),
		queue: prometheus.NewHistogram(histogram("queue_seconds", "Time that a request waited for its turn.",
			0.001, 4, 8)),
		pushes:  counter("pushes_total", "Requests that carried changes, by result: committed, failed.", "result"),
		pulls:   counter("pulls_total", "Requests that were answered, by what they asked for: page, wait (for news), none.", "kind"),
		changes: counter("changes_total", "Verdicts on changes: applied, conflict, quarantined, fork, other.", "verdict"),
		rows:    prometheus.NewCounter(prometheus.CounterOpts(name("rows_sent_total", "Rows of record state that were sent."))),
		commits: prometheus.NewHistogram(histogram("commit_seconds", "Time from the beginning of a commit until it was durable.",
			0.001, 3, 9)),
		commitWrites: prometheus.NewHistogram(histogram("commit_writes", "Pushes and other writes that shared a commit.",
			1, 2, 9)),
		commitChanges: prometheus.NewHistogram(histogram("commit_changes", "Changes in a commit.",
			1, 3, 8)),
	}
	m.registry.MustRegister(m.requests, m.took, m.refused, m.queue, m.pushes, m.pulls, m.changes, m.rows, m.commits, m.commitWrites, m.commitChanges,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// Those that are looked at for their absence are there from the start.
	for _, reason := range []string{refusedOpen, refusedDevice, refusedQueue, refusedBytes, refusedSlow} {
		m.refused.WithLabelValues(reason)
	}
	for _, result := range []string{pushDone, pushFailed} {
		m.pushes.WithLabelValues(result)
	}
	for _, kind := range []string{pullPage, pullWait, pullNoPage} {
		m.pulls.WithLabelValues(kind)
	}
	for _, verdict := range []string{"applied", "conflict", "quarantined", "fork", "other"} {
		m.changes.WithLabelValues(verdict)
	}
	return m
}

// Committed is for store.Options.
func (m *Metrics) Committed(c store.Commit) {
	m.commits.Observe(c.Took.Seconds())
	m.commitWrites.Observe(float64(c.Writes))
	m.commitChanges.Observe(float64(c.Changes))
}

// ServeHTTP implements http.Handler: the page that Prometheus reads.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 20 * time.Second}).ServeHTTP(w, r)
}

// answered counts a request; route is the pattern that it matched, so one of a few.
func (m *Metrics) answered(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

func (m *Metrics) queued(d time.Duration) { m.queue.Observe(d.Seconds()) }

// pushed counts the verdicts of a push.
func (m *Metrics) pushed(outcomes []*tandemv1.Outcome, err error) {
	if err != nil {
		m.pushes.WithLabelValues(pushFailed).Inc()
		return
	}
	m.pushes.WithLabelValues(pushDone).Inc()
	for _, o := range outcomes {
		verdict := "other"
		switch o.GetCode() {
		case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED:
			verdict = "applied"
		case tandemv1.OutcomeCode_OUTCOME_CODE_APPLIED_WITH_CONFLICT:
			verdict = "conflict"
		case tandemv1.OutcomeCode_OUTCOME_CODE_QUARANTINED:
			verdict = "quarantined"
		case tandemv1.OutcomeCode_OUTCOME_CODE_FORK:
			verdict = "fork"
		}
		m.changes.WithLabelValues(verdict).Inc()
	}
}

// pulled counts an answer.
func (m *Metrics) pulled(req *tandemv1.SyncRequest, rows int) {
	kind := pullNoPage
	switch {
	case req.GetWaitMs() > 0:
		kind = pullWait
	case req.GetBudget() > 0:
		kind = pullPage
	}
	m.pulls.WithLabelValues(kind).Inc()
	m.rows.Add(float64(rows))
}

const (
	// standsFor is how long what was read of the orgs is good for.
	standsFor = 5 * time.Second
	// oldestDevices is how many devices with unsent changes are named.
	oldestDevices = 20
)

// gauges reads how the server and its orgs stand when somebody asks.
type gauges struct {
	s *Server

	mu    sync.Mutex
	read  time.Time
	stats map[syncengine.ID]*store.Stats
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tandem_"+name, help, labels, nil)
}

var (
	descOpen       = describe("requests_open", "Requests that are open, those that wait for news included.")
	descWaiting    = describe("requests_waiting", "Requests that wait for their turn.")
	descWorking    = describe("requests_working", "Requests that are worked on.")
	descBytes      = describe("request_bytes", "Memory that is set aside for requests, by what for: bodies, work.", "for")
	descReady      = describe("ready", "1 where the server takes requests, as /readyz says.")
	descHead       = describe("head_sequence", "Sequence of the newest commit.", "org")
	descHorizon    = describe("horizon_sequence", "Sequence up to which every device that was in contact in the last 30 days has read.", "org")
	descQuarantine = describe("quarantine_open", "Changes in quarantine that wait for a decision.", "org")
	descRecovering = describe("recovering", "1 where the database was restored and an admin has not confirmed it.", "org")
	descBackups    = describe("backup_timestamp_seconds", "When the verified backups that are remembered were reported; rank 1 is the newest.", "org", "rank")
	descJanitor    = describe("janitor_timestamp_seconds", "When the janitor last ran.", "org")
	descStopped    = describe("janitor_stopped", "1 where the janitor waits for an admin to look at the clock.", "org")
	descDevices    = describe("devices_seen", "Devices that were in contact in the last 30 days.", "org")
	descUnsent     = describe("device_unsent_changes", "Changes that a device said it has and the server has not, at its last contact; of the devices where that lasts longest.", "org", "replica")
	descOldest     = describe("device_unsent_seconds", "How long a device has had changes that the server has not, since the first contact that showed it; of the devices where that lasts longest.", "org", "replica")
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descOpen, descWaiting, descWorking, descBytes, descReady, descHead, descHorizon, descQuarantine, descRecovering,
		descBackups, descJanitor, descStopped, descDevices, descUnsent, descOldest,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	l := g.s.admission.load()
	gauge(descOpen, float64(l.open))
	gauge(descWaiting, float64(l.waiting))
	gauge(descWorking, float64(l.working))
	gauge(descBytes, float64(l.bodies), "bodies")
	gauge(descBytes, float64(l.work), "work")
	gauge(descReady, flag(g.s.unready(context.Background()) == ""))
	for id, st := range g.orgs() {
		org := id.String()
		gauge(descHead, float64(st.Head.Seq), org)
		gauge(descQuarantine, float64(st.Quarantined), org)
		gauge(descRecovering, flag(st.Head.Recovering), org)
		for i, b := range st.Backups {
			gauge(descBackups, float64(b.MadeMS)/1000, org, string(rune('1'+i)))
		}
		gauge(descJanitor, float64(st.Janitor.LastMS)/1000, org)
		gauge(descStopped, flag(st.Janitor.StoppedMS != 0), org)
		seen := g.s.devices.of(id, g.s.now(), oldestDevices)
		gauge(descDevices, float64(seen.count), org)
		gauge(descHorizon, float64(min(seen.horizon, st.Head.Seq)), org)
		for _, d := range seen.oldest {
			gauge(descUnsent, float64(d.unsent), org, d.replica.String())
			gauge(descOldest, g.s.now().Sub(d.since).Seconds(), org, d.replica.String())
		}
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// orgs is how the orgs stand, as of a few seconds ago at most; those that cannot be read
// are left out.
func (g *gauges) orgs() map[syncengine.ID]*store.Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.read) < standsFor {
		return g.stats
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	g.stats = map[syncengine.ID]*store.Stats{}
	orgs, err := g.s.store.Orgs(ctx)
	if err != nil {
		return nil
	}
	for _, o := range orgs {
		if st, err := g.s.store.Stats(ctx, o.ID); err == nil {
			g.stats[o.ID] = st
		}
	}
	g.read = time.Now()
	return g.stats
}
