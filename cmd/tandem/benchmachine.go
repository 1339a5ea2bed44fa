package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// benchMachine is where a bench ran. What Linux alone tells is empty elsewhere.
type benchMachine struct {
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	CPUs     int    `json:"cpus"`
	CPU      string `json:"cpu,omitempty"`
	MemoryMB int    `json:"memory_mb,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Go       string `json:"go"`
	Postgres string `json:"postgres,omitempty"`
}

func thisMachine() benchMachine {
	m := benchMachine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()}
	m.CPU = procField("/proc/cpuinfo", "model name")
	kb, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.Atoi(kb); err == nil {
		m.MemoryMB = n >> 10
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(text))
	}
	return m
}

// procField returns what follows a name and a colon in a file of the kernel, empty
// where there is none.
func procField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// procKB returns such a field in kilobytes, 0 where there is none.
func procKB(path, name string) int64 {
	kb, _, _ := strings.Cut(procField(path, name), " ")
	n, err := strconv.ParseInt(kb, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// jiffy is the unit in which Linux counts processor time, whatever its own clock.
const jiffy = time.Second / 100

// machineBusy is the processor time that the machine has used since it started, 0
// where the system does not tell.
func machineBusy() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	total := time.Duration(0)
	for i, field := range strings.Fields(line) {
		// cpu user nice system idle iowait irq softirq steal …
		if i == 0 || i == 4 || i == 5 || i > 7 {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0
		}
		total += time.Duration(n) * jiffy
	}
	return total
}

// processTime is the processor time of another process, by its threads, to the
// nanosecond; 0 where the system does not tell. A thread that has ended is not counted:
// programs in Go keep theirs.
func processTime(pid int) (total time.Duration) {
	files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
	if err != nil {
		return 0
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0
		}
		total += time.Duration(n)
	}
	return total
}

// statOf reads a process's line of numbers: its parent, and its processor time with
// that of its children that have ended.
func statOf(pid int) (parent int, spent time.Duration, ok bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, 0, false
	}
	// The name of the program, in brackets, may hold spaces.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return 0, 0, false
	}
	if parent, err = strconv.Atoi(fields[1]); err != nil {
		return 0, 0, false
	}
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		spent += time.Duration(n) * jiffy
	}
	return parent, spent, true
}

// childrenOf lists the processes that a process has started and that run.
func childrenOf(pid int) (pids []int) {
	files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	if err != nil {
		return nil
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		words := bufio.NewScanner(bytes.NewReader(text))
		words.Split(bufio.ScanWords)
		for words.Scan() {
			if n, err := strconv.Atoi(words.Text()); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// familyTime is the processor time of a process, of those that it has started, and of
// those of them that have ended.
func familyTime(pid int) time.Duration {
	_, total, _ := statOf(pid)
	for _, child := range childrenOf(pid) {
		_, spent, _ := statOf(child)
		total += spent
	}
	return total
}

// familyMB is the memory of a process and of those that it has started, what they share
// counted once; 0 where that may not be seen.
func familyMB(pid int) float64 {
	kb := int64(0)
	for _, p := range append(childrenOf(pid), pid) {
		kb += procKB(filepath.Join("/proc", strconv.Itoa(p), "smaps_rollup"), "Pss")
	}
	return float64(kb) / 1024
}
