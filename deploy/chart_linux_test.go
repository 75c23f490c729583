package deploy

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/countersign-dev/countersign/deploy/chart"
)

// kinds are the types that the documents of the chart must be, without an unknown field.
var kinds = map[string]reflect.Type{
	"apps/v1 Deployment":                     reflect.TypeFor[appsv1.Deployment](),
	"autoscaling/v2 HorizontalPodAutoscaler": reflect.TypeFor[autoscalingv2.HorizontalPodAutoscaler](),
	"networking.k8s.io/v1 NetworkPolicy":     reflect.TypeFor[networkingv1.NetworkPolicy](),
	"policy/v1 PodDisruptionBudget":          reflect.TypeFor[policyv1.PodDisruptionBudget](),
	"v1 ConfigMap":                           reflect.TypeFor[corev1.ConfigMap](),
	"v1 PersistentVolumeClaim":               reflect.TypeFor[corev1.PersistentVolumeClaim](),
	"v1 Service":                             reflect.TypeFor[corev1.Service](),
	"v1 ServiceAccount":                      reflect.TypeFor[corev1.ServiceAccount](),
	"monitoring.coreos.com/v1 PodMonitor":    reflect.TypeFor[map[string]any](), // the operator's module would bring its types
}

func readValues(t *testing.T, text string) map[string]any {
	t.Helper()
	var values map[string]any
	noError(t, yaml.UnmarshalStrict([]byte(text), &values))
	return values
}

// cluster has the documents of a rendered chart by their kind.
type cluster map[string][]any

func decode(t *testing.T, documents string) cluster {
	t.Helper()
	c := cluster{}
	for document := range strings.SplitSeq(documents, "---\n") {
		var is struct{ APIVersion, Kind string }
		noError(t, yaml.Unmarshal([]byte(document), &is))
		kind := kinds[is.APIVersion+" "+is.Kind]
		if kind == nil {
			t.Fatalf("the test does not know the kind of\n%s", document)
		}
		value := reflect.New(kind).Interface()
		if err := yaml.UnmarshalStrict([]byte(document), value); err != nil {
			t.Errorf("%s: %v\n%s", is.Kind, err, document)
		}
		c[is.Kind] = append(c[is.Kind], value)
	}
	return c
}

const one = `
image: {repository: registry.example.com/countersign, tag: v1}
config: {public_url: https://countersign.example.com}
`

const automatic = `
image: {repository: registry.example.com/countersign, digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
config:
  public_url: https://countersign.example.com
  keeper: {url: awskms://alias/countersign}
  temporal: {address: temporal:7233}
  anchor: {url: s3://anchors/countersign.json}
  sandbox: {mode: require}
secrets: {mongodbURI: {name: mongodb, key: uri}, temporalAPIKey: {name: temporal, key: key}, environment: [keeper]}
autoscaling: {enabled: true}
seccompProfile: {type: Localhost, localhostProfile: countersign.json}
readiness: {redeemService: true}
metrics: {enabled: true, from: [{namespaceSelector: {}}], podMonitor: {enabled: true}}
networkPolicy: {egress: [{ports: [{port: 443}]}]}
serviceAccount: {annotations: {eks.amazonaws.com/role-arn: arn}}
imagePullSecrets: [{name: registry}]
tolerations: [{key: a, operator: Exists}]
persistence: {storageClassName: fast}
`

func valueSets(t *testing.T) map[string]map[string]any {
	t.Helper()
	several, err := os.ReadFile("kubernetes/values.yaml")
	noError(t, err)
	return map[string]map[string]any{
		"one": readValues(t, one), "several": readValues(t, string(several)), "automatic": readValues(t, automatic),
	}
}

// Every set of values gives documents that Kubernetes knows, of pods that have probes, no
// privileges and no secret in clear, and that outlive the drain.
func TestTheChart(t *testing.T) {
	for name, values := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			linter := lint.RunAll(chart.Folder, values, "countersign")
			for _, message := range linter.Messages {
				if message.Severity >= support.WarningSev {
					t.Error(message)
				}
			}
			documents, err := chart.Render(chart.Folder, "countersign", "countersign", values)
			noError(t, err)
			c := decode(t, documents)
			for _, kind := range []string{"Deployment", "ConfigMap", "Service", "ServiceAccount", "NetworkPolicy"} {
				if len(c[kind]) == 0 {
					t.Errorf("there is no %s", kind)
				}
			}
			several, automatic := name != "one", name == "automatic"
			if got := len(c["PodDisruptionBudget"]) == 1; got != several {
				t.Errorf("disruption budget: %v", got)
			}
			if got := len(c["PersistentVolumeClaim"]) == 0; got != several {
				t.Errorf("without a volume: %v", got)
			}
			if got := len(c["HorizontalPodAutoscaler"]) == 1 && len(c["PodMonitor"]) == 1; got != automatic {
				t.Errorf("autoscaler and monitor: %v", got)
			}
			checkPods(t, c["Deployment"][0].(*appsv1.Deployment).Spec.Template.Spec)
			configLoads(t, c["ConfigMap"][0].(*corev1.ConfigMap).Data["countersign.yaml"])
		})
	}
}

func checkPods(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	container := pod.Containers[0]
	for name, probe := range map[string]*corev1.Probe{"startup": container.StartupProbe, "liveness": container.LivenessProbe, "readiness": container.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			t.Fatalf("there is no %s probe", name)
		}
	}
	if path := container.ReadinessProbe.HTTPGet.Path; path != "/readyz/mint" {
		t.Errorf("readiness is %s", path)
	}
	if path := container.LivenessProbe.HTTPGet.Path; path != "/healthz" { // an engine that is away must not restart servers
		t.Errorf("liveness is %s", path)
	}
	s, p := container.SecurityContext, pod.SecurityContext
	if !*p.RunAsNonRoot || *p.RunAsUser != 65532 || p.SeccompProfile == nil || p.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined ||
		!*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || len(s.Capabilities.Drop) != 1 || *pod.AutomountServiceAccountToken {
		t.Errorf("the pod has privileges: %+v %+v", p, s)
	}
	if *pod.TerminationGracePeriodSeconds < 15+15 {
		t.Errorf("it is killed after %d seconds, while it drains", *pod.TerminationGracePeriodSeconds)
	}
	for _, variable := range container.Env {
		if secret := strings.HasSuffix(variable.Name, "_URI") || strings.HasSuffix(variable.Name, "_KEY"); secret && (variable.Value != "" || variable.ValueFrom.SecretKeyRef == nil) {
			t.Errorf("%s is in clear", variable.Name)
		}
	}
}

// configLoads asks the server that was built whether it knows these settings.
func configLoads(t *testing.T, config string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "countersign.yaml")
	noError(t, os.WriteFile(file, []byte(config), 0o600))
	loads(t, file)
}

// What would lose data or leak a secret is refused, with what to set instead.
func TestTheChartRefuses(t *testing.T) {
	for change, want := range map[string]string{
		"image: {repository: ''}":                                 "image.repository",
		"image: {repository: a, tag: ''}":                         "image.tag",
		"config: {public_url: ''}":                                "config.public_url",
		"replicas: 2":                                             "needs MongoDB",
		"{replicas: 2, secrets: {mongodbURI: {name: a, key: b}}}": "needs Temporal",
		"autoscaling: {enabled: true}":                            "metrics.enabled",
		"{autoscaling: {enabled: true}, metrics: {enabled: true, from: [{podSelector: {}}]}}":      "needs MongoDB",
		"secrets: {mongodbURI: {name: a, key: b}}":                                                 "config.keeper.url",
		"{secrets: {mongodbURI: {name: a, key: b}}, config: {keeper: {url: a}}}":                   "config.anchor.url",
		"{secrets: {mongodbURI: {name: a, key: b}}, config: {keeper: {url: a}, anchor: {url: a}}}": "config.temporal.address",
		"config: {mongodb: {uri: 'mongodb://user:password@mongodb/countersign'}}":                  "password in a URL",
		"metrics: {enabled: true}": "metrics.from",
		"{metrics: {enabled: true, from: [{podSelector: {}}]}, networkPolicy: {enabled: false}}": "metrics.from",
	} {
		values := readValues(t, one)
		merge(values, readValues(t, change))
		if _, err := chart.Render(chart.Folder, "countersign", "countersign", values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that names %s", change, err, want)
		}
	}
}

func merge(values, changes map[string]any) {
	for key, change := range changes {
		before, is := values[key].(map[string]any)
		if inner, both := change.(map[string]any); is && both {
			merge(before, inner)
			continue
		}
		values[key] = change
	}
}

// The manifests are those that the chart gives now.
func TestTheManifestsAreCurrent(t *testing.T) {
	want, err := chart.Render(chart.Folder, "countersign", "countersign", valueSets(t)["several"])
	noError(t, err)
	got, err := os.ReadFile("kubernetes/countersign.yaml")
	noError(t, err)
	if string(got) != chart.Header+want {
		t.Error("deploy/kubernetes/countersign.yaml is not what the chart renders; run make manifests")
	}
}
