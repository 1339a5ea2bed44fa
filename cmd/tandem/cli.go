package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// Exit codes, stable for scripts.
const (
	exitOK          = 0   // done
	exitFailed      = 1   // something went wrong; nothing was lost
	exitUsage       = 2   // the command line is off
	exitNoAnswer    = 3   // no answer from the server: try again
	exitBadInput    = 4   // a file or value was refused; nothing was changed
	exitDiffers     = 5   // verify found a difference
	exitInterrupted = 130 // stopped by a signal
)

// cli is the command line. Secrets are never flags.
type cli struct {
	Demo       demoCmd       `cmd:"" help:"Play a night shift: a server and three devices in one process."`
	Serve      serveCmd      `cmd:"" help:"Run the server."`
	Enroll     enrollCmd     `cmd:"" help:"Enrol this device with a one-time code."`
	Device     deviceCmd     `cmd:"" help:"The field app: pages on loopback from a device's store, with sync in the background."`
	Sync       syncCmd       `cmd:"" help:"Sync a device once and say what moved."`
	Status     statusCmd     `cmd:"" help:"Say what a device holds and what still waits."`
	Quarantine quarantineCmd `cmd:"" help:"Saves that were not accepted: see why, correct them, take them back."`
	Lookup     lookupCmd     `cmd:"" help:"Records that this device does not hold and its person may read."`
	Emergency  emergencyCmd  `cmd:"" help:"Open one person's record where a life may hang on it."`
	Import     importCmd     `cmd:"" help:"Bring a spreadsheet into a device's store, by a mapping."`
	Report     reportCmd     `cmd:"" help:"Count calls; compute, publish and show outcomes."`
	Export     exportCmd     `cmd:"" help:"Write records as files that other programs read, for a stated purpose."`
	Admin      adminCmd      `cmd:"" help:"Set up org, agencies, programs, teams, staff; issue enrolment codes."`
	Sealed     sealedCmd     `cmd:"" help:"Sealed outboxes, which outlive their stores: list what one holds, deliver it."`
	Vault      vaultCmd      `cmd:"" help:"Keep a device's store sealed with a passphrase; change it, renew the key, destroy it."`
	Profile    profileCmd    `cmd:"" help:"People who share a device: list their sealed profiles, add one, choose one."`
	Verify     verifyCmd     `cmd:"" help:"Check a store's hashes, digests and database."`
	Backup     backupCmd     `cmd:"" help:"Copy the database and verify the copy; report backups, so that devices may let go of what they hold."`
	Restore    restoreCmd    `cmd:"" help:"Make a server's data of a backup, and begin a new epoch."`
	Migrate    migrateCmd    `cmd:"" help:"Move a stopped server's data from SQLite to PostgreSQL, or back."`
	Bench      benchCmd      `cmd:"" help:"Measure sync against the raw limits of this machine."`

	Version kong.VersionFlag `help:"Print the version and exit."`
	Verbose bool             `short:"v" help:"Log what happens to standard error."`
}

// stdio is what a command reads and writes.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// app is what every command gets.
type app struct {
	stdio
	ctx context.Context
	log zerolog.Logger
}

// exitError carries an exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exits gives an error an exit code.
func exits(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

// run runs one command line and returns its exit code. Errors go to io.err as one
// line that says what to do next.
func run(ctx context.Context, args []string, std stdio) (code int) {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("tandem"),
		kong.Description("Keeps a crisis co-response team's records in step, with or without signal."),
		kong.Writers(std.out, std.err),
		kong.Exit(func(code int) { exited = code }),
		kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(std.err, "tandem:", err)
		return exitFailed
	}
	kctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(std.err, "tandem: %v\nRun 'tandem --help' for the commands and their examples.\n", err)
		return exitUsage
	}
	// What a command fails of is its error, said once.
	level := zerolog.ErrorLevel
	if c.Verbose {
		level = zerolog.DebugLevel
	}
	a := &app{stdio: std, ctx: ctx, log: zerolog.New(std.err).Level(level).With().Timestamp().Logger()}
	if err := kctx.Run(a); err != nil {
		return a.fail(err)
	}
	return exitOK
}

// fail prints an error and returns its exit code.
func (a *app) fail(err error) int {
	if a.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.err, "tandem: stopped; everything acknowledged is kept, run the command again to go on")
		return exitInterrupted
	}
	fmt.Fprintln(a.err, "tandem:", err)
	if coded, ok := errors.AsType[*exitError](err); ok {
		return coded.code
	}
	return codeOf(err)
}

// json prints v as one line.
func (a *app) json(v any) error { return json.NewEncoder(a.out).Encode(v) }

// say prints a line for a person.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.out, format+"\n", args...)
}

// interactive reports whether somebody watches standard error.
func (a *app) interactive() bool {
	f, ok := a.err.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// wait waits for a span or until the command is stopped.
func (a *app) wait(d time.Duration) error {
	if d <= 0 {
		return a.ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

// version is the module's version, or what the build knows.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
