package runtime

import (
	"testing"
	"time"
)

// A plugin may use one CPU for each open render, even if the render is shorter than the
// time between two measurements.
func TestCPUTimeIsLimitedByOpenRenders(t *testing.T) {
	const always = watchEvery
	for name, test := range map[string]struct {
		renders int           // parallel renders, started ten times a second
		open    time.Duration // how long each render is open
		cpus    float64
		ends    bool
	}{
		"idle":                            {0, 0, 0, false},
		"collects its garbage":            {0, 0, 0.05, false},
		"spins without a render":          {0, 0, 1, true},
		"renders":                         {1, always, 1, false},
		"renders many at once":            {8, always, 8, false},
		"short renders":                   {1, 5 * time.Millisecond, 0.05, false},
		"spins on two CPUs in a render":   {1, always, 2, true},
		"spins on all CPUs in renders":    {8, always, 64, true},
		"spins between short renders":     {1, 5 * time.Millisecond, 0.5, true},
		"spins between many short ones":   {8, 5 * time.Millisecond, 2, true},
		"uses a bit more than it renders": {2, always, 2.05, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1, 0)
			var w openRenders
			budget, used, ended := cpuBudget{left: cpuReserve}, time.Duration(0), false
			for range 10 * 60 * 10 { // ten minutes
				w.add(test.renders, now)
				w.add(-test.renders, now.Add(test.open))
				now = now.Add(watchEvery)
				used += time.Duration(test.cpus * float64(watchEvery))
				ended = ended || budget.spend(used, w.time(now), now) < 0
			}
			if ended != test.ends {
				t.Errorf("it is ended: %v", ended)
			}
		})
	}
	var w openRenders
	now := time.Unix(1, 0)
	w.add(2, now)
	if got := w.time(now.Add(time.Second)); got != 2*time.Second {
		t.Errorf("two renders that are open for a second: %s", got)
	}
}
