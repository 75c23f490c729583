package deploy

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Prometheus accepts the rules, and each fires when it should and not before.
func TestAlertsFire(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "prometheus/alerts.yaml"}, {"test", "rules", "prometheus/alerts_test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// Alerts and dashboard name only metrics that the server has, and each alert has a
// paragraph in RUNBOOKS.md.
func TestAlertsAndDashboardFitTheServer(t *testing.T) {
	has := map[string]bool{}
	named := regexp.MustCompile(`"(countersign_[a-z_]+)"`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == "node_modules" {
			return firstOf(err, fs.SkipDir)
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			has[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	runbooks := read(t, "RUNBOOKS.md")
	metric := regexp.MustCompile(`countersign_[a-z_]+`)
	for _, path := range []string{"prometheus/alerts.yaml", "prometheus/dashboard.json", "RUNBOOKS.md"} {
		for _, name := range metric.FindAllString(read(t, path), -1) {
			if !has[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s names the metric %s, which the server does not have", path, name)
			}
		}
	}
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(read(t, "prometheus/alerts.yaml"), -1)
	if len(alerts) < 12 {
		t.Errorf("%d alerts were found", len(alerts))
	}
	for _, m := range alerts {
		if !strings.Contains(runbooks, "\n## "+m[1]+"\n") || !strings.Contains(read(t, "prometheus/alerts.yaml"), "RUNBOOKS.md#"+strings.ToLower(m[1])+"\n") {
			t.Errorf("RUNBOOKS.md has no paragraph for %s, or the alert does not name it", m[1])
		}
		if !strings.Contains(read(t, "prometheus/alerts_test.yaml"), "alertname: "+m[1]+"}") {
			t.Errorf("no test says when %s does not fire", m[1])
		}
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
