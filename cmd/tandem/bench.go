package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"time"
)

type benchCmd struct {
	Sync  benchSyncCmd  `cmd:"" default:"withargs" help:"All steps of sync between devices and a server, beside the raw limits; what tandem bench alone does."`
	Vault benchVaultCmd `cmd:"" help:"What a vault costs a device, as ratios to a store in the clear."`
}

func (benchCmd) Help() string {
	return `For example:

  tandem bench
  tandem bench sync --records 10000 --devices 2
  tandem bench vault`
}

type benchSyncCmd struct {
	Records []int  `default:"1000,10000,100000" placeholder:"N,N,…" help:"Documents to push and pull, one run each (default ${default})."`
	Devices int    `default:"2" help:"Devices: the first pushes, each other one pulls everything."`
	Live    int    `default:"200" help:"Documents written one at a time in the live step."`
	Crews   int    `default:"50" help:"Devices of the fan-in step, each of a team of its own; 0 leaves the step out."`
	Each    int    `default:"200" help:"Documents that each of them sends."`
	Seed    int64  `default:"1" help:"Seed of the documents."`
	Dir     string `placeholder:"DIR" help:"Where the databases go, on the disk to be measured; a temporary directory otherwise."`
	Profile string `placeholder:"DIR" help:"Write profiles of processor and memory of this process to a directory, a pair for each step, for go tool pprof; with --embedded those of the server too."`
	Vault   bool   `help:"The devices keep their stores in a vault."`
	Write   string `placeholder:"FILE" help:"Write the results to a file as well, as JSON."`

	Embedded bool   `xor:"where" help:"Run the server in this process, not in one of its own: its CPU time and memory cannot be told from those of the devices then."`
	Server   string `xor:"where" placeholder:"URL" help:"Measure a server that runs already; needs --codes, and one --records."`
	Codes    string `type:"existingfile" placeholder:"FILE" help:"One-time codes for the devices, one a line: those of --devices, then those of --crews."`
	PID      int    `name:"server-pid" placeholder:"PID" help:"Process of that server, where it is on this machine."`
	databaseFlag

	JSON bool `help:"Print one line of JSON."`
}

func (benchSyncCmd) Help() string {
	return `Runs all steps of the workload field-sync-1 with durable writes on both ends (SQLite, WAL,
synchronous=FULL, or PostgreSQL as it is set up), with sign-in, validation, merging and audit
on, over HTTP/2, and counts every byte on the wire. The server is a process of its own on
loopback, so that its CPU time and memory stand alone.

In the same run it measures what the machine can do at most: the same bodies inserted into
SQLite, and with --database into PostgreSQL by COPY and by inserts of many rows, 500 a
transaction, before, between and after push and pull, and an append that is synced; the
median counts. Compare ratios of one run: times depend on the machine and the hour. How
many cores others kept busy is said for each step.

With --database the server's tables go into an empty PostgreSQL database, in a schema of
their own that is dropped at the end. docs/benchmarks explains the figures.

  tandem bench
  tandem bench sync --records 10000 --devices 2 --json
  tandem bench sync --database postgres://tandem@db.example/tandem_bench --write postgres.json
  tandem bench sync --records 1000 --server https://tandem.example --codes codes.txt
  tandem bench sync --records 10000 --vault
  tandem bench sync --records 10000 --embedded --profile profiles`
}

// benchReport is what a command line measured.
type benchReport struct {
	Version  string       `json:"version"`
	Workload string       `json:"workload"`
	Seed     int64        `json:"seed"`
	Began    time.Time    `json:"began"`
	Machine  benchMachine `json:"machine"`
	// Server is "own process", "embedded" or "remote"; Engine "sqlite", "postgresql" or,
	// of a remote server, "unknown".
	Server string `json:"server"`
	Engine string `json:"engine"`
	// Vault: the devices' stores are in a vault.
	Vault bool          `json:"vault,omitempty"`
	Runs  []benchResult `json:"runs"`
	// Growth is there where there are several sizes; Between says whether what is aimed at
	// between the last two is met.
	Growth  *benchGrowth `json:"growth,omitempty"`
	Between goals        `json:"growth_goals,omitempty"`
}

// benchResult is what a run of one size measured.
type benchResult struct {
	Records int `json:"records"`
	Devices int `json:"devices"`
	// BodyBytes is the mean size of a record's body and stamps.
	BodyBytes float64   `json:"body_bytes"`
	Raw       benchRaw  `json:"raw"`
	Save      benchStep `json:"save"`
	Push      benchStep `json:"push"`
	// Settle is what the pushing device sends and gets after its push.
	Settle benchStep `json:"settle"`
	// Pull is of pages that are made for each device alone. Making and Chunked are of those
	// that are made in chunks for all: by the device for which they are made, and by one
	// that comes later. Not there where a server runs already.
	Pull    benchStep  `json:"pull"`
	Making  *benchStep `json:"pull_making_chunks,omitempty"`
	Chunked *benchStep `json:"pull_chunks,omitempty"`
	Edit    benchStep  `json:"edit"`
	// Bootstrap is a first download once the chunks are kept and the edits have come after:
	// what is kept, then the tail. Not there where a server runs already.
	Bootstrap *benchStep `json:"bootstrap,omitempty"`
	Live      benchLive  `json:"live"`
	FanIn     *benchFan  `json:"fan_in,omitempty"`
	NoOp      benchNoOp  `json:"no_op"`
	// Proof is the mean of the headers that prove who asks, a request.
	Proof float64 `json:"proof_bytes_per_request"`
	// ServerDisk and DeviceDisk are bytes a document, after push and pull; 0 where that
	// cannot be seen. SealedDisk is the device's sealed outbox.
	ServerDisk float64 `json:"server_disk_bytes,omitempty"`
	DeviceDisk float64 `json:"device_disk_bytes,omitempty"`
	SealedDisk float64 `json:"sealed_outbox_bytes,omitempty"`
	// Goals are what is aimed at, and whether it is met.
	Goals goals `json:"goals"`
}

// benchStep is one bulk step.
type benchStep struct {
	Documents int     `json:"documents"`
	MS        float64 `json:"ms"`
	PerSecond float64 `json:"per_s"`
	// OfRaw is the rate as a fraction of the raw insert into SQLite, OfPostgres of the
	// insert of many rows into PostgreSQL.
	OfRaw      float64 `json:"of_raw_insert,omitempty"`
	OfPostgres float64 `json:"of_postgres_rows,omitempty"`
	// CPU is what devices, server and collector used, microseconds a document, without
	// PostgreSQL; 0 where the system does not tell. ServerCPU is the server's part.
	CPU       float64 `json:"cpu_us,omitempty"`
	ServerCPU float64 `json:"server_cpu_us,omitempty"`
	// ServerPeak is the most memory that the server had in this step.
	ServerPeak float64 `json:"server_peak_mb,omitempty"`
	// DatabaseCPU is that of PostgreSQL's processes, DatabaseMB their memory at the end,
	// what they share counted once.
	DatabaseCPU float64 `json:"postgres_cpu_us,omitempty"`
	DatabaseMB  float64 `json:"postgres_mb,omitempty"`
	// Elsewhere is how many cores were busy with other things.
	Elsewhere float64 `json:"cores_busy_elsewhere"`
	// Up and Down are bytes a document on the wire, everything counted; Net are
	// both without the proof headers.
	Up       float64 `json:"bytes_up,omitempty"`
	Down     float64 `json:"bytes_down,omitempty"`
	Net      float64 `json:"bytes_without_proof,omitempty"`
	Requests int64   `json:"requests,omitempty"`
}

type benchLive struct {
	benchStep

	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Bytes float64 `json:"bytes"`
}

type benchFan struct {
	benchStep

	Crews int `json:"crews"`
	// P50 and P99 are over the devices: until all of one's documents are durable.
	P50    float64 `json:"device_p50_ms"`
	P99    float64 `json:"device_p99_ms"`
	Errors int     `json:"errors"`
}

type benchNoOp struct {
	MS    float64 `json:"ms"`
	Bytes float64 `json:"bytes"`
	Net   float64 `json:"bytes_without_proof"`
}

// benchIn is where a bench keeps its stores: the directory that is named, or one of its own.
// Where a profile is asked for, it begins. done ends both.
func benchIn(named, profiled string) (dir string, done func() error, err error) {
	dir, remove := named, func() error { return nil }
	if dir == "" {
		if dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
			return "", nil, err
		}
		remove = func() error { return os.RemoveAll(dir) }
	}
	if profiled == "" {
		return dir, remove, nil
	}
	stop, err := profile(profiled)
	if err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return dir, func() error { return errors.Join(stop(), remove()) }, nil
}

func (c *benchSyncCmd) Run(a *app) (err error) {
	database, err := c.check()
	if err != nil {
		return err
	}
	dir, done, err := benchIn(c.Dir, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if c.Profile != "" {
		if err := os.MkdirAll(c.Profile, 0o700); err != nil {
			return err
		}
	}
	r := &benchReport{Version: version(), Workload: "field-sync-1", Seed: c.Seed, Began: time.Now().UTC(), Machine: thisMachine(), Server: c.where(), Engine: "sqlite", Vault: c.Vault}
	switch {
	case c.Server != "":
		r.Engine = "unknown"
	case database != "":
		r.Engine = "postgresql"
		if r.Machine.Postgres, err = emptyDatabase(a.ctx, database); err != nil {
			return err
		}
	}
	for _, n := range c.Records {
		b := &bench{a: a, cmd: c, records: n, dir: filepath.Join(dir, fmt.Sprintf("n%d", n)), database: database, res: &benchResult{Records: n, Devices: c.Devices}}
		if err := b.run(); err != nil {
			return err
		}
		r.Runs = append(r.Runs, *b.res)
		r.Growth, r.Between = growthOf(r.Runs), growthGoals(r.Runs)
		// What was measured stays, whatever becomes of the next size.
		if err := r.write(c.Write); err != nil {
			return err
		}
		// The next size begins with an empty disk.
		if c.Dir == "" {
			if err := os.RemoveAll(b.dir); err != nil {
				return err
			}
		}
		if !c.JSON {
			if err := b.table(); err != nil {
				return err
			}
		}
	}
	if c.JSON {
		return a.json(r)
	}
	return r.end(a)
}

// write writes the results to a file, where one is named.
func (r *benchReport) write(file string) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// check looks at the command line, and returns the address of the database.
func (c *benchSyncCmd) check() (string, error) {
	if len(c.Records) == 0 || slices.Min(c.Records) < 1 || c.Live < 1 || c.Devices < 2 || c.Crews < 0 || c.Each < 1 {
		return "", exits(exitUsage, errors.New("--records, --live and --each must be at least 1, --devices at least 2"))
	}
	if (c.Server == "") != (c.Codes == "") || c.Server == "" && c.PID != 0 {
		return "", exits(exitUsage, errors.New("--server and --codes go together: a code for each device (tandem admin code at the server)"))
	}
	if c.Server != "" && len(c.Records) > 1 {
		return "", exits(exitUsage, errors.New("--server takes one --records: each size needs a server that holds nothing"))
	}
	slices.Sort(c.Records)
	database, err := c.address()
	if err == nil && c.Server != "" && database != "" {
		err = exits(exitUsage, errors.New("--server has a database of its own: leave --database away"))
	}
	return database, err
}

func (c *benchSyncCmd) where() string {
	switch {
	case c.Server != "":
		return "remote"
	case c.Embedded:
		return "embedded"
	}
	return "own process"
}

// profile writes a CPU profile until stop.
func profile(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
