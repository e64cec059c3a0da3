package house_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The manifests are decoded strictly into what Kubernetes' own types have under these names, as far as the
// manifests use them: its own module is a hundred times larger than they are.
type (
	labels map[string]string

	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Metadata   struct {
			Name      string `yaml:"name"`
			Namespace string `yaml:"namespace"`
			Labels    labels `yaml:"labels"`
		} `yaml:"metadata"`
	}

	selector struct {
		MatchLabels labels `yaml:"matchLabels"`
	}

	namespace struct {
		object `yaml:",inline"`
	}

	service struct {
		object `yaml:",inline"`
		Spec   struct {
			Selector labels `yaml:"selector"`
			Ports    []struct {
				Name       string `yaml:"name"`
				Port       int    `yaml:"port"`
				TargetPort string `yaml:"targetPort"`
			} `yaml:"ports"`
		} `yaml:"spec"`
	}

	disruption struct {
		object `yaml:",inline"`
		Spec   struct {
			MinAvailable int      `yaml:"minAvailable"`
			Selector     selector `yaml:"selector"`
		} `yaml:"spec"`
	}

	monitor struct {
		object `yaml:",inline"`
		Spec   struct {
			Selector  selector `yaml:"selector"`
			Endpoints []struct {
				Port, Interval string
				Authorization  struct {
					Credentials struct{ Name, Key string } `yaml:"credentials"`
				} `yaml:"authorization"`
			} `yaml:"endpoints"`
		} `yaml:"spec"`
	}

	kustomization struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Namespace  string   `yaml:"namespace"`
		Resources  []string `yaml:"resources"`
		Generators []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
	}

	probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
		Period  int                         `yaml:"periodSeconds"`
		Timeout int                         `yaml:"timeoutSeconds"`
		Failure int                         `yaml:"failureThreshold"`
	}

	mount struct {
		Name     string `yaml:"name"`
		Path     string `yaml:"mountPath"`
		SubPath  string `yaml:"subPath"`
		ReadOnly bool   `yaml:"readOnly"`
	}

	volume struct {
		Name      string
		ConfigMap *struct{ Name string } `yaml:"configMap"`
		Secret    *struct {
			Name string `yaml:"secretName"`
			Mode int    `yaml:"defaultMode"`
		} `yaml:"secret"`
		EmptyDir *struct {
			Limit string `yaml:"sizeLimit"`
		} `yaml:"emptyDir"`
	}

	container struct {
		Name   string `yaml:"name"`
		Image  string `yaml:"image"`
		Policy string `yaml:"imagePullPolicy"`
		Ports  []struct {
			Name string `yaml:"name"`
			Port int    `yaml:"containerPort"`
		} `yaml:"ports"`
		Security struct {
			Escalation   bool                    `yaml:"allowPrivilegeEscalation"`
			ReadOnly     bool                    `yaml:"readOnlyRootFilesystem"`
			Capabilities struct{ Drop []string } `yaml:"capabilities"`
		} `yaml:"securityContext"`
		Resources struct {
			Requests, Limits labels
		} `yaml:"resources"`
		Startup   probe   `yaml:"startupProbe"`
		Liveness  probe   `yaml:"livenessProbe"`
		Readiness probe   `yaml:"readinessProbe"`
		Mounts    []mount `yaml:"volumeMounts"`
	}

	deployment struct {
		object `yaml:",inline"`
		Spec   struct {
			Replicas int      `yaml:"replicas"`
			Selector selector `yaml:"selector"`
			Strategy struct {
				Type string `yaml:"type"`
			} `yaml:"strategy"`
			Template struct {
				Metadata struct {
					Labels labels `yaml:"labels"`
				} `yaml:"metadata"`
				Spec struct {
					Token    *bool `yaml:"automountServiceAccountToken"`
					Links    *bool `yaml:"enableServiceLinks"`
					Grace    int   `yaml:"terminationGracePeriodSeconds"`
					Security struct {
						NonRoot bool                  `yaml:"runAsNonRoot"`
						User    int                   `yaml:"runAsUser"`
						Group   int                   `yaml:"runAsGroup"`
						FSGroup int                   `yaml:"fsGroup"`
						Seccomp struct{ Type string } `yaml:"seccompProfile"`
					} `yaml:"securityContext"`
					Containers []container `yaml:"containers"`
					Volumes    []volume    `yaml:"volumes"`
				} `yaml:"spec"`
			} `yaml:"template"`
		} `yaml:"spec"`
	}
)

const manifests = root + "/docs/examples/kubernetes"

// manifest decodes a file, in which nothing is unknown and nothing is there twice.
func manifest[T any](t *testing.T, file string) (m T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(manifests, file))
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return m
}

// The manifests fit together: names, labels, ports and mounts that one names are in the others, and the files
// that the configuration names are mounted.
func TestKubernetes(t *testing.T) {
	k := manifest[kustomization](t, "kustomization.yaml")
	space := manifest[namespace](t, "namespace.yaml")
	d := manifest[deployment](t, "deployment.yaml")
	s := manifest[service](t, "service.yaml")
	b := manifest[disruption](t, "disruption.yaml")
	m := manifest[monitor](t, "servicemonitor.yaml")
	files, err := filepath.Glob(manifests + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if !slices.Contains(append([]string{"kustomization.yaml", "servicemonitor.yaml"},
			append(k.Resources, k.Generators[0].Files...)...), name) {
			t.Errorf("kustomization.yaml does not have %s", name)
		}
	}
	for _, o := range []struct{ got, want string }{
		{space.APIVersion + space.Kind, "v1Namespace"}, {d.APIVersion + d.Kind, "apps/v1Deployment"},
		{s.APIVersion + s.Kind, "v1Service"}, {b.APIVersion + b.Kind, "policy/v1PodDisruptionBudget"},
		{m.APIVersion + m.Kind, "monitoring.coreos.com/v1ServiceMonitor"}, {k.APIVersion + k.Kind,
			"kustomize.config.k8s.io/v1beta1Kustomization"}, {k.Namespace, space.Metadata.Name},
		{m.Metadata.Namespace, space.Metadata.Name},
	} {
		if o.got != o.want {
			t.Errorf("%s, want %s", o.got, o.want)
		}
	}
	const label = "app.kubernetes.io/name"
	pod := d.Spec.Template
	want := pod.Metadata.Labels[label]
	for what, has := range map[string]labels{"deployment": d.Spec.Selector.MatchLabels, "service": s.Spec.Selector,
		"disruption": b.Spec.Selector.MatchLabels} {
		if len(has) != 1 || has[label] != want || want == "" {
			t.Errorf("the %s selects %v, and the pods have %v", what, has, pod.Metadata.Labels)
		}
	}
	if m.Spec.Selector.MatchLabels[label] != s.Metadata.Labels[label] || m.Spec.Endpoints[0].Port != s.Spec.Ports[0].Name {
		t.Errorf("the monitor reads %+v, and the service is %+v", m.Spec, s)
	}
	c := pod.Spec.Containers[0]
	if p := s.Spec.Ports[0]; p.TargetPort != c.Ports[0].Name || c.Ports[0].Port != p.Port || c.Ports[0].Port != 9847 {
		t.Errorf("the service has the port %+v, and the container %+v", p, c.Ports)
	}
	for _, p := range []probe{c.Startup, c.Liveness, c.Readiness} {
		if p.HTTPGet.Port != c.Ports[0].Name || !slices.Contains([]string{"/-/healthy", "/-/ready"}, p.HTTPGet.Path) {
			t.Errorf("a probe asks %+v", p)
		}
	}
	if c.Liveness.HTTPGet.Path != "/-/healthy" || c.Readiness.HTTPGet.Path != "/-/ready" {
		t.Error("a store that is away restarts the pod, or alerts are delivered where they cannot be taken")
	}
	if b.Spec.MinAvailable >= d.Spec.Replicas {
		t.Error("no node can be drained")
	}
	mounts(t, pod.Spec.Volumes, c.Mounts, k.Generators[0].Name)
}

// mounts checks that each volume is mounted and there, and that what the configuration names is mounted.
func mounts(t *testing.T, volumes []volume, all []mount, config string) {
	t.Helper()
	var has, uses []string
	for _, v := range volumes {
		has = append(has, v.Name)
		if v.Name == "config" && (v.ConfigMap == nil || v.ConfigMap.Name != config) {
			t.Errorf("the configuration is in %+v, and kustomization.yaml makes %s", v.ConfigMap, config)
		}
		if v.Secret != nil && v.Secret.Mode&0o007 != 0 {
			t.Errorf("every user can read the secret %s", v.Secret.Name)
		}
	}
	text, err := os.ReadFile(filepath.Join(manifests, "upkeep.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		uses = append(uses, m.Name)
		if !m.ReadOnly && m.Path != "/tmp" && m.Path != "/var/lib/upkeep" {
			t.Errorf("%s can be written", m.Path)
		}
	}
	slices.Sort(has)
	slices.Sort(uses)
	if !slices.Equal(has, uses) {
		t.Errorf("the volumes are %v, and %v are mounted", has, uses)
	}
	for word := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return strings.ContainsRune(" ={}\n,", r) }) {
		if !strings.HasPrefix(word, "/") || strings.HasPrefix(word, "/-/") {
			continue
		}
		if !slices.ContainsFunc(all, func(m mount) bool { return word == m.Path || strings.HasPrefix(word, m.Path+"/") }) {
			t.Errorf("upkeep.yaml names %s, and nothing is mounted there", word)
		}
	}
}

// The pods need no right: the pod security standard "restricted" takes them.
func TestKubernetesIsRestricted(t *testing.T) {
	if l := manifest[namespace](t, "namespace.yaml").Metadata.Labels["pod-security.kubernetes.io/enforce"]; l != "restricted" {
		t.Errorf("the namespace enforces %q", l)
	}
	pod := manifest[deployment](t, "deployment.yaml").Spec.Template.Spec
	no := func(b *bool) bool { return b != nil && !*b }
	if s := pod.Security; !s.NonRoot || s.User != 65532 || s.Group != 65532 || s.FSGroup != 65532 ||
		s.Seccomp.Type != "RuntimeDefault" || !no(pod.Token) || !no(pod.Links) || pod.Grace < 120 {
		t.Errorf("%+v", pod)
	}
	for _, c := range pod.Containers {
		if c.Security.Escalation || !c.Security.ReadOnly || !slices.Equal(c.Security.Capabilities.Drop, []string{"ALL"}) ||
			c.Resources.Limits["memory"] == "" {
			t.Errorf("%+v", c)
		}
	}
	text, err := os.ReadFile(filepath.Join(manifests, "deployment.yaml"))
	if err != nil || !strings.Contains(string(text), "allowPrivilegeEscalation: false") { // which is not the default
		t.Errorf("%v: allowPrivilegeEscalation is not false", err)
	}
	docker, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil || !strings.Contains(string(docker), "USER 65532:65532") {
		t.Errorf("%v: the image has another user", err)
	}
}
