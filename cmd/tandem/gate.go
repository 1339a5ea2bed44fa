package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// errNoSignal is what a device without signal gets.
var errNoSignal = errors.New("no signal")

// gate is the way of one device to the network: it can be shut, which also breaks
// the connections that are open, and it counts what goes through. Safe for
// concurrent use.
type gate struct {
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
	// up and down are the bytes that went through, dials the connections opened.
	up, down, dials atomic.Int64
}

func newGate() *gate { return &gate{conns: map[net.Conn]bool{}} }

// dial opens a connection, or fails while the gate is shut.
func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut {
		return nil, errNoSignal
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.dials.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[conn] = true
	return &counted{Conn: conn, g: g}, nil
}

// set opens or shuts the gate.
func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = !open
	if open {
		return
	}
	for conn := range g.conns {
		_ = conn.Close()
		delete(g.conns, conn)
	}
}

// counted is a connection through a gate.
type counted struct {
	net.Conn
	g *gate
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.g.down.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.g.up.Add(int64(n))
	return n, err
}

func (c *counted) Close() error {
	c.g.mu.Lock()
	delete(c.g.conns, c.Conn)
	c.g.mu.Unlock()
	return c.Conn.Close()
}
