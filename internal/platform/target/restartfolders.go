package target

import (
	"context"
	"path"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// Holds returns the folder that holds a path, and whether one is known that does.
func (s Supervised) Holds(file string) (f Folder, known bool) {
	file = path.Clean(file)
	for _, one := range s.Folders {
		in := one.Path == "/" || file == one.Path || strings.HasPrefix(file, one.Path+"/")
		if in && (!known || len(one.Path) >= len(f.Path)) {
			f, known = one, true
		}
	}
	return f, known
}

// folders reports what a restart of the container does to its files. The engine makes
// a tmpfs anew; so is a volume that is a tmpfs, once no container has it mounted.
func (d *Docker) folders(ctx context.Context, i container.InspectResponse) ([]Folder, error) {
	all := []Folder{
		{Path: "/", Fate: Layer, What: "the container's own layer"},
		{Path: "/dev", Fate: Lost, What: "the tmpfs /dev"},
	}
	for p := range i.HostConfig.Tmpfs {
		all = append(all, Folder{Path: path.Clean(p), Fate: Lost, What: "the tmpfs " + p})
	}
	for _, one := range i.Mounts {
		f := Folder{Path: path.Clean(one.Destination), Bind: one.Type == mount.TypeBind,
			What: string(one.Type) + " " + one.Destination}
		switch one.Type {
		case mount.TypeTmpfs:
			f.Fate = Lost
		case mount.TypeVolume:
			memory, err := d.inMemory(ctx, one.Name)
			if err != nil {
				return nil, err
			}
			if memory {
				f.Fate, f.What = Lost, "the volume "+one.Name+", which is a tmpfs"
			}
		default: // it is judged by the folder of the machine
		}
		all = append(all, f)
	}
	return all, nil
}

// inMemory reports whether a volume is a tmpfs.
func (d *Docker) inMemory(ctx context.Context, volume string) (bool, error) {
	v, err := d.volume(ctx, volume)
	if err != nil {
		return false, err
	}
	return v.Options["type"] == "tmpfs" || v.Options["type"] == "ramfs", nil
}

// unitFolders reports what a restart of a systemd unit does to its files.
func unitFolders(said map[string]string) []Folder {
	all := []Folder{{Path: "/", Fate: Kept, What: "the machine's files"}}
	if said["RuntimeDirectoryPreserve"] == "" || said["RuntimeDirectoryPreserve"] == "no" {
		for name := range strings.FieldsSeq(said["RuntimeDirectory"]) {
			name, _, _ = strings.Cut(name, ":") // a symbolic link to it
			all = append(all, Folder{Path: path.Join("/run", name), Fate: Lost, What: "RuntimeDirectory=" + name})
		}
	}
	// DynamicUser= implies it.
	if p := said["PrivateTmp"]; p != "" && p != "no" || said["DynamicUser"] == "yes" {
		for _, at := range []string{"/tmp", "/var/tmp"} {
			all = append(all, Folder{Path: at, Fate: Lost,
				What: "PrivateTmp=, which gives the unit its own " + at + ""})
		}
	}
	if said["ProtectHome"] == "tmpfs" {
		for _, at := range []string{"/home", "/root", "/run/user"} {
			all = append(all, Folder{Path: at, Fate: Lost,
				What: "ProtectHome=tmpfs, which gives the unit an empty " + at})
		}
	}
	for entry := range strings.FieldsSeq(said["TemporaryFileSystem"]) {
		at, _, _ := strings.Cut(entry, ":")
		all = append(all, Folder{Path: path.Clean(at), Fate: Lost, What: "TemporaryFileSystem=" + at})
	}
	return all
}

// started returns the command line of a unit: what systemd runs, as it writes it.
// Where more than one command is run, or an argument has a placeholder, it is
// not known.
func started(execStart string) []string {
	_, rest, ok := strings.Cut(execStart, "argv[]=")
	if !ok {
		return nil
	}
	line, _, ok := strings.Cut(rest, " ; ")
	if !ok || strings.Contains(rest, "argv[]=") || strings.ContainsAny(line, "$%") {
		return nil
	}
	args := strings.Fields(line)
	for i, a := range args {
		if len(a) > 1 && (a[0] == '"' || a[0] == '\'') && a[len(a)-1] == a[0] {
			args[i] = a[1 : len(a)-1] // later versions quote
		}
	}
	return args
}
