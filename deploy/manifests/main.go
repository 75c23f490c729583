// Command manifests renders the chart with the values of kubernetes/values.yaml into
// kubernetes/countersign.yaml, for clusters without Helm. Run it in deploy/.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/countersign-dev/countersign/deploy/chart"
)

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

func write() error {
	text, err := os.ReadFile("kubernetes/values.yaml")
	if err != nil {
		return err
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		return fmt.Errorf("read values: %w", err)
	}
	documents, err := chart.Render(chart.Folder, "countersign", "countersign", values)
	if err != nil {
		return err
	}
	return os.WriteFile("kubernetes/countersign.yaml", []byte(chart.Header+documents), 0o644) //nolint:gosec // everybody may read it
}
