package workflows

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign/engine"
)

// refusing is a notifier that refuses every message.
type refusing struct{ engine.Notifier }

func (refusing) Send(context.Context, engine.Destination, engine.Notification) error {
	return engine.Errorf(engine.CodeInvalidRequest, "not to there")
}

// outbox replaces a mail server and counts the mails to each recipient. Every mail
// succeeds if fails is not set.
type outbox struct {
	mu    sync.Mutex
	to    map[string]int
	fails func(url engine.Secret) bool
}

func (o *outbox) Check(context.Context, engine.Secret) (engine.DestinationKind, error) {
	return engine.DestinationKind{Address: "smtp://mail", Personal: true}, nil
}

func (o *outbox) Send(_ context.Context, to engine.Destination, _ engine.Notification) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fails != nil && o.fails(to.URL) {
		return errLost
	}
	o.to[to.Recipient]++
	return nil
}

func TestRecipients(t *testing.T) {
	d, box := newTestbed(t, engine.SystemClock), &outbox{}
	d.notifying(t, "http://127.0.0.1:1")
	d.notifications.Notifier = box
	by := engine.Caller{Project: engine.Project{ID: project}}
	_, _, err := d.notifications.CreateTarget(t.Context(), by, "mail", "smtp://mail", engine.NotificationEvents)
	noError(t, err)
	noError(t, d.store.CreateProject(t.Context(), engine.Project{ID: project}, engine.Member{ProjectID: project, UserID: "root", Role: engine.RoleAdmin}, record("project")))
	for name, role := range map[string]engine.Role{
		"u": engine.RoleAdmin, "approver": engine.RoleApprover, "root": engine.RoleAdmin, "operator": engine.RoleOperator, "viewer": engine.RoleViewer,
		"disabled": engine.RoleApprover, "silent": engine.RoleApprover, "gone": engine.RoleAdmin, "lowered": engine.RoleAdmin, "chief": "",
	} {
		u := engine.User{ID: name, Username: name, Email: name + "@example.org", Disabled: name == "disabled", SystemAdmin: name == "chief"}
		if name == "silent" {
			u.Email = ""
		}
		noError(t, d.store.CreateUser(t.Context(), u, record("user "+name)))
		if role != "" {
			noError(t, d.store.SetMember(t.Context(), engine.Member{ProjectID: project, UserID: name, Role: role}, record("member "+name)))
		}
	}
	recipientsOfEvents(t, d, box)
	recipientsOfRequesters(t, d, box)
}

// recipientsOfEvents compares who is written to of each event. Two people lose their
// role between the list of deliveries and the delivery.
func recipientsOfEvents(t *testing.T, d *testbed, box *outbox) {
	for event, want := range map[engine.NotificationEvent][]string{
		engine.NotifyRequested: {"approver", "root"}, engine.NotifyReminder: {"approver", "root"},
		engine.NotifyDecided: {"u"}, engine.NotifyExpired: {"u"}, engine.NotifyReused: {"root", "u"},
	} {
		n := sample()
		n.Event = event
		deliveries, err := d.notifications.Deliveries(t.Context(), n)
		noError(t, err)
		// After the list was made.
		noError(t, d.store.RemoveMember(t.Context(), project, "gone", time.Now(), record("gone "+string(event))))
		noError(t, d.store.SetMember(t.Context(), engine.Member{ProjectID: project, UserID: "lowered", Role: engine.RoleOperator}, record("lowered "+string(event))))
		box.to = map[string]int{}
		for _, to := range deliveries {
			if to.Person != "" {
				noError(t, d.notifications.Deliver(t.Context(), n, to))
			}
		}
		for _, name := range want {
			if box.to[name+"@example.org"] != 1 {
				t.Errorf("%s: %s was not written to", event, name)
			}
		}
		if len(box.to) != len(want) || len(deliveries) < len(want)+1 {
			t.Errorf("%s: written to %v, want %v", event, box.to, want)
		}
		for _, name := range []string{"gone", "lowered"} {
			noError(t, d.store.SetMember(t.Context(), engine.Member{ProjectID: project, UserID: name, Role: engine.RoleAdmin}, record(name+" back "+string(event))))
		}
	}
}

// recipientsOfRequesters checks that the requester is notified of their own request
// only while they are a member of the project, or a system administrator.
func recipientsOfRequesters(t *testing.T, d *testbed, box *outbox) {
	for name, want := range map[string]int{"gone": 0, "viewer": 1, "chief": 1} {
		n, personal := sample(), ""
		n.Event, n.Requester = engine.NotifyDecided, person(name)
		deliveries, err := d.notifications.Deliveries(t.Context(), n)
		noError(t, err)
		if name == "gone" {
			noError(t, d.store.RemoveMember(t.Context(), project, name, time.Now(), record("removed again")))
		}
		box.to = map[string]int{}
		for _, to := range deliveries {
			if to.Person != "" {
				personal = to.Person
				noError(t, d.notifications.Deliver(t.Context(), n, to))
			}
		}
		if personal != name || box.to[name+"@example.org"] != want {
			t.Errorf("%s was written to %d times, want %d", name, box.to[name+"@example.org"], want)
		}
	}
}

// approvers adds n approvers to the project.
func (d *testbed) approvers(n int) {
	d.t.Helper()
	ctx := d.t.Context()
	noError(d.t, d.store.CreateProject(ctx, engine.Project{ID: project}, engine.Member{ProjectID: project, UserID: "user_0", Role: engine.RoleAdmin}, record("project")))
	for i := range n {
		u := engine.User{ID: fmt.Sprintf("user_%d", i), Username: fmt.Sprintf("user-%d", i), Email: fmt.Sprintf("user-%d@example.org", i)}
		noError(d.t, d.store.CreateUser(ctx, u, record(u.ID)))
		noError(d.t, d.store.SetMember(ctx, engine.Member{ProjectID: project, UserID: u.ID, Role: engine.RoleApprover}, record("member "+u.ID)))
	}
}

// A notification to many targets and users reaches each, and a target that is down
// delays no other; no workflow has more deliveries at once than Temporal permits.
func TestManyDeliveries(t *testing.T) {
	const people, targets = 150, 3
	var begun, back time.Time
	var down engine.Secret
	box := &outbox{to: map[string]int{}}
	underWay, late := map[string]int{}, 0
	_, env := runNotify(t, func(d *testbed, env *testsuite.TestWorkflowEnvironment) engine.Notification {
		begun = env.Now()
		back = begun.Add(3 * time.Hour)
		d.notifying(t, "http://127.0.0.1:1")
		d.notifications.Notifier = box
		for i := range targets {
			url := engine.Secret(fmt.Sprintf("smtp://mail-%d", i))
			_, _, err := d.notifications.CreateTarget(t.Context(), engine.Caller{Project: engine.Project{ID: project}}, "mail", url, engine.NotificationEvents)
			noError(t, err)
			if i == 0 {
				down = url
			}
		}
		d.approvers(people)
		box.fails = func(url engine.Secret) bool {
			if url != down && env.Now().Sub(begun) > time.Minute {
				late++
			}
			return url == down && env.Now().Before(back)
		}
		first := map[string]bool{}
		env.SetOnActivityStartedListener(func(i *activity.Info, _ context.Context, _ converter.EncodedValues) {
			if id := i.WorkflowExecution.ID; !first[id+" "+i.ActivityID] {
				first[id+" "+i.ActivityID] = true
				underWay[id]++
			}
		})
		return sample()
	})
	for i := range people {
		if got := box.to[fmt.Sprintf("user-%d@example.org", i)]; got != targets {
			t.Errorf("person %d got %d messages, want %d", i, got, targets)
		}
	}
	if late > 0 {
		t.Errorf("%d tries of targets that are not down were held up", late)
	}
	for id, n := range underWay {
		if n > maxDeliveries {
			t.Errorf("%s had up to %d activities under way", id, n)
		}
	}
	if took := env.Now().Sub(begun); took < 3*time.Hour || len(underWay) < 3 {
		t.Errorf("it took %v, in %d workflows", took, len(underWay))
	}
}
