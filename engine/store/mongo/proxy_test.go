package mongo_test

import (
	"bytes"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// fault is what a proxy does to a message that holds a given text.
type fault int

const (
	loseAnswer   fault = iota + 1 // it arrives, its answer does not
	loseQuestion                  // it does not arrive
	silence                       // it does not arrive, and nothing says so
)

// proxy stands between a store and its server, reads along and does harm.
type proxy struct {
	t        *testing.T
	server   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	sent  [][]byte
	conns map[net.Conn]bool
	text  string
	fault fault
	times int
}

// behindProxy returns the URI of the same database through a proxy.
func behindProxy(t *testing.T, uri string) (string, *proxy) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, server: u.Host, listener: listener, conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() { p.down(); p.running.Wait() })
	u.Host = listener.Addr().String()
	return u.String(), p
}

// harm does it to the next so many messages that hold the text ("" for any).
func (p *proxy) harm(f fault, text string, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.text, p.times = f, text, times
}

// harmsLeft is how much of that harm is not done yet.
func (p *proxy) harmsLeft() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times
}

// down closes every connection and takes no more.
func (p *proxy) down() {
	_ = p.listener.Close() // again at the end of the test
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close() // its reader sees it
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			p.t.Error(err)
			return
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		deaf := make(chan struct{})
		p.running.Go(func() { p.questions(client, server, deaf) })
		p.running.Go(func() { p.answers(client, server, deaf) })
	}
}

func (p *proxy) questions(client, server net.Conn, deaf chan struct{}) {
	defer client.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := client.Read(buf)
		if err != nil {
			server.Close()
			return
		}
		switch p.decide(buf[:n]) {
		case loseQuestion:
			server.Close()
			return
		case silence:
			continue
		case loseAnswer:
			close(deaf)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// answers passes on what the server says, or closes both ends instead.
func (p *proxy) answers(client, server net.Conn, deaf chan struct{}) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-deaf:
			return
		default:
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) decide(message []byte) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, bytes.Clone(message))
	if p.times == 0 || !strings.Contains(string(message), p.text) {
		return 0
	}
	p.times--
	return p.fault
}

// commands are the messages sent so far that hold a command.
func (p *proxy) commands(name string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for _, message := range p.sent {
		if strings.Contains(string(message), "\x02"+name+"\x00") {
			found = append(found, string(message))
		}
	}
	return found
}
