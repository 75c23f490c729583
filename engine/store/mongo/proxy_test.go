package mongo_test

import (
	"bytes"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// fault is what a proxy does to a message that contains a given text.
type fault int

const (
	loseAnswer   fault = iota + 1 // the message arrives, its answer does not
	loseQuestion                  // the message does not arrive, and the connection closes
	silence                       // the message does not arrive, and the connection stays open
)

// proxy forwards messages between a store and its server, records them and injects
// faults.
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
	after func() // is called when a question whose answer is lost was answered
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

// inject applies a fault to the next messages that contain the text ("" for any); a
// negative number of times means all of them.
func (p *proxy) inject(f fault, text string, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.text, p.times = f, text, times
}

// faultsLeft is how often the fault is still to be applied.
func (p *proxy) faultsLeft() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times
}

// down closes every connection and no longer accepts new ones.
func (p *proxy) down() {
	_ = p.listener.Close() // may be closed already
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close() // the goroutine that reads from it ends
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
		answerLost := make(chan struct{})
		p.running.Go(func() { p.questions(client, server, answerLost) })
		p.running.Go(func() { p.answers(client, server, answerLost) })
	}
}

func (p *proxy) questions(client, server net.Conn, answerLost chan struct{}) {
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
			close(answerLost)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// answers forwards the server's answers, or closes both connections instead.
func (p *proxy) answers(client, server net.Conn, answerLost chan struct{}) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-answerLost:
			if p.after != nil {
				p.after()
			}
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

// commands returns the messages sent so far that contain a command.
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
