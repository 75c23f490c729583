package sdktest

import (
	"context"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

type formats []sdk.Format

func (f formats) Formats() []sdk.Format { return f }

func (formats) Render(context.Context, sdk.Job) ([]byte, error) { return nil, nil }

func TestJobsForMeetEachFormatsNeeds(t *testing.T) {
	jobs := map[string][]sdk.Job{}
	for _, job := range JobsFor(t, formats{{ID: "plain"}, {ID: "key", NeedsKey: true}, {ID: "locked", NeedsPassphrase: true}, {ID: "chain", NeedsChain: true}}) {
		jobs[job.Format] = append(jobs[job.Format], job)
		if key := job.PrivateKey != nil; key != (job.Format == "key") {
			t.Errorf("%s of %.40q: it has a key: %v", job.Format, job.Name, key)
		}
		if passphrase := job.Passphrase != ""; passphrase != (job.Format == "locked") {
			t.Errorf("%s of %.40q: it has a passphrase: %v", job.Format, job.Name, passphrase)
		}
		if job.Format == "chain" && len(job.Chain) == 0 {
			t.Errorf("chain of %.40q: it has none", job.Name)
		}
	}
	every := len(Jobs(t)) + len(HostileNames)
	for format, want := range map[string]int{"plain": every, "key": every, "locked": every, "chain": every - 1} {
		if got := len(jobs[format]); got != want {
			t.Errorf("%s: %d jobs, want %d", format, got, want)
		}
	}
}
