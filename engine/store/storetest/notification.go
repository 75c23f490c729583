package storetest

import (
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

var notificationContracts = []contract{
	{"target", notificationTarget},
	{"target deleted", notificationTargetDeleted},
	{"listing", notificationTargetListing},
	{"limit", notificationTargetLimit},
}

func newTarget(projectID string) engine.NotificationTarget {
	return engine.NotificationTarget{
		ID: engine.NewID("target"), ProjectID: projectID, Name: "chat \"ü\" <&>", Events: []engine.NotificationEvent{engine.NotifyRequested, engine.NotifyReused},
		Address: "https://hooks.example.com", Personal: true,
		Sealed:    engine.SealedKey{KeeperID: "local", WrappedKey: []byte{0, 1, 255}, Ciphertext: []byte("sealed\x00")},
		CreatedBy: robot, CreatedAt: noon,
	}
}

func notificationTarget(t *testing.T, s engine.Store) {
	ctx, project, elsewhere := t.Context(), engine.NewID("prj"), engine.NewID("prj")
	target, rec := newTarget(project), record(project)
	_, err := s.NotificationTarget(ctx, project, target.ID)
	refused(t, err, engine.CodeNotFound)
	ok(t, s.CreateNotificationTarget(ctx, target, 50, rec))
	same(t, get[engine.NotificationTarget](t)(s.NotificationTarget(ctx, project, target.ID)), target)
	_, err = s.NotificationTarget(ctx, elsewhere, target.ID)
	refused(t, err, engine.CodeNotFound)

	another := newTarget(elsewhere)
	another.ID = target.ID
	refused(t, s.CreateNotificationTarget(ctx, another, 50, record(elsewhere)), engine.CodeExists)
	same(t, get[engine.NotificationTarget](t)(s.NotificationTarget(ctx, project, target.ID)), target)
	onRecord(t, s, project, rec)
	onRecord(t, s, elsewhere)
}

func notificationTargetDeleted(t *testing.T, s engine.Store) {
	ctx, project, elsewhere := t.Context(), engine.NewID("prj"), engine.NewID("prj")
	target, made, gone := newTarget(project), record(project), record(project)
	refused(t, s.DeleteNotificationTarget(ctx, project, target.ID, record(project)), engine.CodeNotFound)
	ok(t, s.CreateNotificationTarget(ctx, target, 50, made))
	refused(t, s.DeleteNotificationTarget(ctx, elsewhere, target.ID, record(elsewhere)), engine.CodeNotFound)
	ok(t, s.DeleteNotificationTarget(ctx, project, target.ID, gone))
	refused(t, s.DeleteNotificationTarget(ctx, project, target.ID, record(project)), engine.CodeNotFound)
	_, err := s.NotificationTarget(ctx, project, target.ID)
	refused(t, err, engine.CodeNotFound)
	list := func(page engine.Page) ([]engine.NotificationTarget, string, error) {
		return s.NotificationTargets(ctx, project, page)
	}
	lists(t, list, nil)
	onRecord(t, s, project, made, gone)
	onRecord(t, s, elsewhere)
}

func notificationTargetListing(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	var targets []engine.NotificationTarget
	for _, at := range times {
		target := newTarget(project)
		target.CreatedAt = at
		ok(t, s.CreateNotificationTarget(ctx, target, 50, record(project)))
		targets = append(targets, target)
	}
	ok(t, s.CreateNotificationTarget(ctx, newTarget(engine.NewID("prj")), 50, record(project)))
	list := func(page engine.Page) ([]engine.NotificationTarget, string, error) {
		return s.NotificationTargets(ctx, project, page)
	}
	lists(t, list, newestFirst(targets, func(t engine.NotificationTarget) engine.Cursor { return engine.Cursor{Time: t.CreatedAt, ID: t.ID} }))
}

// However many callers add targets at the same time, the limit holds; a target that
// was deleted makes room.
func notificationTargetLimit(t *testing.T, s engine.Store) {
	const limit, callers = 5, 12
	ctx, project := t.Context(), engine.NewID("prj")
	errs := make(chan error, callers)
	for range callers {
		go func() { errs <- s.CreateNotificationTarget(ctx, newTarget(project), limit, record(project)) }()
	}
	added := 0
	for range callers {
		if err := <-errs; err == nil {
			added++
		} else {
			refused(t, err, engine.CodeConflict)
		}
	}
	all, _, err := s.NotificationTargets(ctx, project, engine.Page{Limit: callers})
	ok(t, err)
	if added != limit || len(all) != limit {
		t.Fatalf("%d calls added %d targets", added, len(all))
	}
	ok(t, s.DeleteNotificationTarget(ctx, project, all[0].ID, record(project)))
	ok(t, s.CreateNotificationTarget(ctx, newTarget(project), limit, record(project)))
	refused(t, s.CreateNotificationTarget(ctx, newTarget(project), limit, record(project)), engine.CodeConflict)
}
