package workflows

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
	sender "github.com/countersign-dev/countersign/engine/notify"
)

// receiver is a webhook's other end: it counts the messages by id, once up is set.
type receiver struct {
	url  string
	down func() bool
	mu   sync.Mutex
	got  map[string]int
	all  int
}

func newReceiver(t *testing.T, down func() bool) *receiver {
	r := &receiver{down: down, got: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		var message struct{ Data engine.Notification }
		if err != nil || json.Unmarshal(body, &message) != nil {
			t.Errorf("a message that cannot be read: %s", body)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all++
		if r.down() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		r.got[message.Data.ID+" "+string(message.Data.Event)+" "+q.Header.Get("Webhook-Id")]++
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// notifying gives the testbed what it takes to send: keys, a sender that may reach
// loopback, a project and a target for every event.
func (d *testbed) notifying(t *testing.T, url string) engine.NotificationTarget {
	t.Helper()
	if d.notifications.Keys == nil {
		sealer, err := keys.Open(t.Context(), keys.Options{KeyFile: filepath.Join(t.TempDir(), "key"), Logger: d.transitions.Log})
		noError(t, err)
		d.notifications.Keys = sealer
	}
	d.notifications.Notifier = sender.New(sender.Options{AllowHosts: []string{"127.0.0.1"}, Clock: d.transitions.Clock})
	by := engine.Caller{Project: engine.Project{ID: project}}
	target, _, err := d.notifications.CreateTarget(t.Context(), by, "receiver", engine.Secret(url), engine.NotificationEvents)
	noError(t, err)
	return target
}

func (d *testbed) events() (all []engine.NotificationEvent) {
	for _, n := range d.notified() {
		all = append(all, n.Event)
	}
	return all
}

func TestAnnouncements(t *testing.T) {
	for name, c := range map[string]struct {
		steps []during
		want  []engine.NotificationEvent
	}{
		"decided at once": {yes, []engine.NotificationEvent{engine.NotifyRequested, engine.NotifyDecided}},
		"decided late": {[]during{vote(80*time.Hour, "a", engine.DecisionDeny, "")},
			[]engine.NotificationEvent{engine.NotifyRequested, engine.NotifyReminder, engine.NotifyDecided}},
		"never decided": {nil, []engine.NotificationEvent{engine.NotifyRequested, engine.NotifyReminder, engine.NotifyExpired}},
		"withdrawn":     {[]during{cancel(10*time.Hour, "")}, []engine.NotificationEvent{engine.NotifyRequested}},
	} {
		d, _, _ := runDownload(t, engine.RoleOperator, func(d *testbed, o *engine.WorkflowInput) {
			askPeople(d, o)
			d.notifying(t, "http://127.0.0.1:1")
		}, c.steps...)
		seen := map[string]engine.NotificationEvent{}
		for _, n := range d.notified() {
			if n.ApprovalID == "" || n.CertificateName != "one" || n.Requester.Person != "u" || seen[n.ID] != "" {
				t.Errorf("%s: %+v", name, n)
			}
			seen[n.ID] = n.Event
		}
		if got := d.events(); len(got) != len(c.want) {
			t.Errorf("%s: notified of %v, want %v", name, got, c.want)
		} else {
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("%s: notified of %v, want %v", name, got, c.want)
				}
			}
		}
	}
}

// A caller that waits for a decision gets it although notifications fail now, and the
// failed notifications are dispatched later.
func TestFailedNotificationsAreDispatchedLater(t *testing.T) {
	d, failures := newTestbed(t, engine.SystemClock), 2
	askPeople(d, nil)
	d.notifying(t, "http://127.0.0.1:1")
	a := d.activities()
	a.dispatch = func(ctx context.Context, n engine.Notification) error {
		if failures--; failures >= 0 {
			return errLost
		}
		return d.dispatch(ctx, n)
	}
	o := d.order("req_told", engine.RoleOperator)
	answer, forget := a.callers.add(o.Request.ID)
	defer forget()
	if _, err := a.evaluatePolicy(t.Context(), o); err == nil {
		t.Error("an announcement was lost without a word")
	}
	if r := <-answer; r.Status != engine.StatusPendingApproval {
		t.Errorf("%+v", r)
	}
	for len(d.notified()) == 0 {
		_, err := a.evaluatePolicy(t.Context(), o)
		if err != nil && failures < 0 {
			t.Fatal(err)
		}
	}
}

// notifying runs the workflow of a notification with time skipping.
func runNotify(t *testing.T, prepare func(*testbed, *testsuite.TestWorkflowEnvironment) engine.Notification) (*testbed, *testsuite.TestWorkflowEnvironment) {
	t.Helper()
	env := environment(t, "notify/ntf_1")
	d := newTestbed(t, func() time.Time { return engine.NormalizeTime(env.Now()) })
	registerActivities(env, d.activities())
	registerWorkflows(env)
	n := prepare(d, env)
	env.ExecuteWorkflow(notifyName, n)
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow does not end")
	}
	noError(t, env.GetWorkflowError())
	return d, env
}

func sample() engine.Notification {
	return engine.Notification{
		ID: "ntf_1", Event: engine.NotifyRequested, ProjectID: project, ApprovalID: "apr_1", RequestID: "req_1",
		Requester: person("u"), Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestMessageArrivesAfterHoursOfFailure(t *testing.T) {
	var begun, back time.Time
	var up, steady *receiver
	_, env := runNotify(t, func(d *testbed, env *testsuite.TestWorkflowEnvironment) engine.Notification {
		begun = env.Now()
		back = begun.Add(9 * time.Hour)
		up = newReceiver(t, func() bool { return env.Now().Before(back) })
		steady = newReceiver(t, func() bool { return env.Now().After(begun.Add(time.Second)) })
		d.notifying(t, up.url)
		d.notifying(t, steady.url) // another target's failure does not delay it
		return sample()
	})
	const want = "ntf_1 approval.requested ntf_1"
	if len(up.got) != 1 || up.got[want] == 0 || up.all < 50 {
		t.Errorf("the target that was down got %v in %d tries", up.got, up.all)
	}
	if steady.got[want] != 1 || steady.all != 1 {
		t.Errorf("the other target got %v in %d tries", steady.got, steady.all)
	}
	if late := env.Now().Sub(back); late > longestRetry {
		t.Errorf("delivered %v after the target was back", late)
	}
}

func TestDeliveriesWithoutRetry(t *testing.T) {
	for name, prepare := range map[string]func(d *testbed, to engine.NotificationTarget){
		"refused permanently": func(d *testbed, _ engine.NotificationTarget) {
			d.notifications.Notifier = refusing{}
		},
		"deleted while it is down": func(d *testbed, to engine.NotificationTarget) {
			noError(t, d.notifications.DeleteTarget(t.Context(), engine.Caller{Project: engine.Project{ID: project}}, to.ID))
		},
	} {
		var begun time.Time
		_, env := runNotify(t, func(d *testbed, env *testsuite.TestWorkflowEnvironment) engine.Notification {
			begun = env.Now()
			to := d.notifying(t, newReceiver(t, func() bool { return true }).url)
			env.RegisterDelayedCallback(func() { prepare(d, to) }, time.Minute)
			return sample()
		})
		if took := env.Now().Sub(begun); took < time.Minute || took > time.Minute+longestRetry {
			t.Errorf("%s: ended after %v", name, took)
		}
	}
}

func TestDeliveriesEndAfterAWeek(t *testing.T) {
	var begun time.Time
	_, env := runNotify(t, func(d *testbed, env *testsuite.TestWorkflowEnvironment) engine.Notification {
		begun = env.Now()
		d.notifying(t, newReceiver(t, func() bool { return true }).url)
		return sample()
	})
	if took := env.Now().Sub(begun); took < deliverFor-longestRetry || took > deliverFor+longestRetry {
		t.Errorf("ended after %v", took)
	}
}

func TestReusedTokensAreReportedOnce(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	d.notifying(t, "http://127.0.0.1:1")
	token := d.order("req_1", engine.RoleOperator).Token
	for range 2 { // two notifiers, like those of two processes, one after the other
		r := newReuseNotifier(d.transitions.Log)
		var calls atomic.Int32
		failed := false
		r.start(func(ctx context.Context, t engine.Token) error {
			defer calls.Add(1)
			if !failed {
				failed = true
				return errLost
			}
			return d.notifications.TokenReused(ctx, t, d.dispatch)
		})
		for calls.Load() < 2 { // the first call fails, and the next attempt with the token causes another
			r.add(token)
		}
		for range 10_000 {
			r.add(token)
		}
		r.close()
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls", n)
		}
	}
	if sent := d.notified(); len(sent) != 1 || sent[0].Event != engine.NotifyReused || sent[0].CertificateName != "one" || sent[0].RequestID != "req_1" {
		t.Errorf("%+v", sent)
	}
	if n := d.count("req_1", engine.ActionReuseNotified); n != 1 {
		t.Errorf("%d audit entries", n)
	}
}
