package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// devicesOfAProcess is how many devices of a herd one process has: each that is open takes
// megabytes and ten descriptors, of which many systems allow a process 20,000. Teams are
// whole.
const devicesOfAProcess = 63 * herdTeam

// pack is a process of devices.
type pack struct {
	cmd     *exec.Cmd
	devices int
	in      io.Writer
	out     *bufio.Scanner
	log     *bytes.Buffer
}

// gather starts a process of devices.
func (h *herd) gather(first, devices int) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "tandem-pack", h.dir, "http://"+h.addr, strings.Join(h.addrs, ","),
		strconv.Itoa(first), strconv.Itoa(devices), strconv.Itoa(h.devices), strconv.Itoa(*herdChanges), strconv.Itoa(h.open))
	p := &pack{cmd: cmd, devices: devices, log: &bytes.Buffer{}}
	cmd.Stderr = p.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if p.in, err = cmd.StdinPipe(); err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.packs = append(h.packs, p)
}

// say writes a line to a pack.
func (h *herd) say(p *pack, line string) {
	h.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		h.fail(p, err)
	}
}

// hear reads a line of a pack, which begins with a word, and returns the rest of it.
func (h *herd) hear(p *pack, word string) string {
	h.t.Helper()
	if !p.out.Scan() {
		h.fail(p, p.out.Err())
	}
	rest, ok := strings.CutPrefix(p.out.Text(), word)
	if !ok {
		h.t.Fatalf("a pack of devices says %q, not %q", p.out.Text(), word)
	}
	return strings.TrimSpace(rest)
}

func (h *herd) fail(p *pack, err error) {
	h.t.Helper()
	code := h.end(p.cmd)
	h.t.Fatalf("a pack of devices has ended with exit code %d (%v)\n%s", code, err, p.log)
}

// tell says a word to all packs and returns what each answers; with no answer, they end.
func (h *herd) tell(word, answer string) (said []string) {
	h.t.Helper()
	for _, p := range h.packs {
		h.say(p, word)
	}
	for _, p := range h.packs {
		if answer != "" {
			said = append(said, h.hear(p, answer))
		} else if code := h.end(p.cmd); code != exitOK {
			h.t.Fatalf("a pack of devices ends with exit code %d\n%s", code, p.log)
		}
	}
	return said
}

// devices is the program of a pack. It reads a code for each device, and then words, one
// after the other, and does what they say.
func devices() {
	if err := pasture(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(exitFailed)
	}
}

// grazing is the devices of a pack.
type grazing struct {
	dir, server string
	// servers are where the server's address leads: each device goes to one of them, as
	// by a balancer.
	servers                   []string
	first, count, all, change int
	// open is how many stores are open at once, if not all are.
	open int

	devices []*client.Client
	news    []chan struct{}
	// runs ends when the devices have ended, drains when they have sent what they had,
	// sees when each has what its team wrote.
	runs, drains, sees sync.WaitGroup

	mu     sync.Mutex
	broken error
}

func pasture(ctx context.Context, args []string) error {
	g := &grazing{dir: args[0], server: args[1], servers: strings.Split(args[2], ",")}
	for i, into := range []*int{&g.first, &g.count, &g.all, &g.change, &g.open} {
		n, err := strconv.Atoi(args[3+i])
		if err != nil {
			return err
		}
		*into = n
	}
	g.devices, g.news = make([]*client.Client, g.count), make([]chan struct{}, g.count)
	lines := bufio.NewScanner(os.Stdin)
	g.each(func(i int, turn func()) error {
		if !lines.Scan() {
			return io.ErrUnexpectedEOF
		}
		code := lines.Text()
		turn()
		if err := g.begin(ctx, i, code); err != nil {
			fmt.Fprintln(os.Stdout, "broken:", err)
			return err
		}
		fmt.Fprintln(os.Stdout, "made")
		return nil
	})
	if err := g.err(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	spent := time.Duration(0)
	save := func() {}
	for lines.Scan() {
		switch lines.Text() {
		case "open":
			if g.open == 0 {
				g.each(func(i int, turn func()) (err error) {
					turn()
					g.news[i] = make(chan struct{}, 1)
					g.devices[i], err = g.store(ctx, i, g.news[i])
					return err
				})
			}
			fmt.Fprintln(os.Stdout, "open")
		case "run":
			save = profiling()
			spent = cpuTime()
			fmt.Fprintln(os.Stdout, "running")
			if g.open > 0 {
				g.turns(ctx)
			} else {
				g.run(ctx)
			}
			g.drains.Wait()
		case "cpu":
			fmt.Fprintln(os.Stdout, "cpu", (cpuTime() - spent).Milliseconds())
			save()
		case "see":
			g.sees.Wait()
			fmt.Fprintln(os.Stdout, "seen")
		case "end":
			stop()
			g.runs.Wait()
			g.each(func(i int, turn func()) error {
				turn()
				if g.devices[i] == nil {
					return nil
				}
				return g.devices[i].Close()
			})
			return g.err()
		}
		if err := g.err(); err != nil {
			return err
		}
	}
	return lines.Err()
}

// each does something with every device in order, a few at a time: turn lets the next
// one begin.
func (g *grazing) each(do func(i int, turn func()) error) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, 8)
	for i := range g.count {
		turns <- struct{}{}
		begun := make(chan struct{})
		wg.Go(func() {
			defer func() { <-turns }()
			var once sync.Once
			turn := func() { once.Do(func() { close(begun) }) }
			defer turn()
			g.note(do(i, turn))
		})
		<-begun
	}
	wg.Wait()
}

func (g *grazing) note(err error) {
	if err != nil {
		g.mu.Lock()
		g.broken = errors.Join(g.broken, err)
		g.mu.Unlock()
	}
}

func (g *grazing) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken
}

// store opens a device, which tells news of what comes to it.
func (g *grazing) store(ctx context.Context, i int, news chan<- struct{}) (*client.Client, error) {
	return client.Open(ctx, filepath.Join(g.dir, fmt.Sprint("device", g.first+i)), client.Options{
		Version: "test",
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, g.servers[(g.first+i)%len(g.servers)])
		},
		OnChange: func([]syncengine.ID) {
			select {
			case news <- struct{}{}:
			default:
			}
		},
	})
}

// begin enrols a device and lets it work without a network.
func (g *grazing) begin(ctx context.Context, i int, code string) error {
	dev, err := g.store(ctx, i, nil)
	if err != nil {
		return err
	}
	waits, cancel := context.WithTimeout(ctx, herdPatience)
	defer cancel()
	if err := again(waits, func() error { return dev.Enroll(ctx, g.server, code) }); err != nil {
		return errors.Join(err, dev.Close())
	}
	for n := range g.change {
		if _, err := dev.Edit(ctx, func(e *client.Edit) error {
			_, err := e.Create(&tandemv1.Incident{CallType: new("welfare_check"), NotesOps: new(fmt.Sprint("call ", n, " of device ", g.first+i))})
			return err
		}); err != nil {
			return errors.Join(err, dev.Close())
		}
	}
	return dev.Close()
}

// herdPatience is how long a device of a herd is enrolled again and again: as long as a server
// with too much to do may ask it to wait, and as long again.
const herdPatience = 10 * time.Minute

// again does what a server may have no time for, and waits for as long as it says before it
// does it once more.
func again(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || !errors.Is(err, client.ErrBusy) && !errors.Is(err, client.ErrNetwork) {
			return err
		}
		wait := time.Second
		if contact, ok := errors.AsType[*client.ContactError](err); ok {
			wait = max(wait, contact.RetryAfter)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// run lets all devices find the network.
func (g *grazing) run(ctx context.Context) {
	began := time.Now()
	for i, dev := range g.devices {
		g.runs.Go(func() {
			if err := dev.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				g.note(err)
			}
		})
		g.drains.Add(1)
		g.sees.Go(func() {
			if err := g.watch(ctx, i, func(s *client.Status) (bool, error) {
				if s.NotAccepted > 0 {
					return false, fmt.Errorf("device %d: %d saves were not accepted", g.first+i, s.NotAccepted)
				}
				return s.Queued == 0 && s.Applied == 0, nil
			}); err != nil {
				g.note(err)
			} else {
				fmt.Fprintln(os.Stdout, "drained", time.Since(began).Milliseconds())
			}
			g.drains.Done()
			g.note(g.watch(ctx, i, func(*client.Status) (bool, error) {
				counts, err := dev.Counts(ctx)
				return counts["incident"] == g.team(i)*g.change, err
			}))
		})
	}
}

// team is how many devices are of a device's team.
func (g *grazing) team(i int) int { return min(herdTeam, g.all-(g.first+i)/herdTeam*herdTeam) }

// watch waits until a device stands so.
func (g *grazing) watch(ctx context.Context, i int, so func(*client.Status) (bool, error)) error {
	look := time.NewTicker(30 * time.Second)
	defer look.Stop()
	for {
		s, err := g.devices[i].Status(ctx)
		if err != nil {
			return err
		}
		if done, err := so(s); done || err != nil {
			return err
		}
		select {
		case <-g.news[i]:
			// More comes with it, as a rule; looking is work too.
			time.Sleep(gathers)
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gathers is how long a pack waits after news of a device before it looks how that one
// stands; times are as exact as that.
const gathers = 200 * time.Millisecond

// profileVariable names the directory into which a process of a test writes its profile.
const profileVariable = "TANDEM_TEST_PROFILES"

// profiling begins a CPU profile, where one is asked for; what it returns ends it.
func profiling() (save func()) {
	dir := os.Getenv(profileVariable)
	if dir == "" {
		return func() {}
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.prof", filepath.Base(os.Args[0]), os.Getpid())))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(exitFailed)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}
}

// profiled is tandem with a profile of it.
func profiled() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	save := profiling()
	code := run(ctx, os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr})
	save()
	os.Exit(code)
}
