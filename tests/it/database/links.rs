//! Root beside an unprivileged user: the embedded cluster follows no link that this user could have
//! planted, and gives nothing away that is not its own. Without root there is no such user: then the
//! tests check that the operator's own links work.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::harness::process::{Served, folder, run, succeed};

const SECRET: &str = "root's own file\n";

fn is_root() -> bool {
    Uid::effective().is_root()
}

/// The user and group that the server runs as.
fn server_user() -> (u32, u32) {
    let user = ["postgres", "nobody"]
        .iter()
        .find_map(|name| User::from_name(name).unwrap())
        .filter(|_| is_root())
        .unwrap_or_else(|| User::from_uid(Uid::effective()).unwrap().unwrap());
    (user.uid.as_raw(), user.gid.as_raw())
}

/// A file and a folder of root that links are made to.
struct Victim {
    folder: tempfile::TempDir,
}

impl Victim {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("file"), SECRET).unwrap();
        fs::set_permissions(
            folder.path().join("file"),
            fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        fs::write(folder.path().join("folder/inside"), SECRET).unwrap();
        fs::set_permissions(
            folder.path().join("folder"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn is_untouched(&self, planted: &str) {
        let look = |name: &str| {
            let found = fs::symlink_metadata(self.path(name)).unwrap();
            (found.uid(), found.mode() & 0o7777)
        };
        assert_eq!(look("file"), (0, 0o600), "{planted}");
        assert_eq!(look("folder"), (0, 0o755), "{planted}");
        for name in ["file", "folder/inside"] {
            assert_eq!(
                fs::read_to_string(self.path(name)).unwrap(),
                SECRET,
                "{planted}"
            );
        }
        let inside = fs::read_dir(self.path("folder")).unwrap();
        assert_eq!(
            inside.count(),
            1,
            "{planted}: something was made in the folder"
        );
    }
}

/// The folders of a cluster as builds before this one left them: they belong to the server's user.
fn folders_of_earlier_builds(data_dir: &Path) {
    let (uid, gid) = server_user();
    for name in ["postgres", "postgres/log", "postgres/run"] {
        let path = data_dir.join(name);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn root_follows_no_planted_link() {
    // What is planted, what it points to, and whether the start refuses it. Otherwise the start
    // replaces it.
    let plants = [
        ("postgres", "folder", true),
        ("postgres/data", "folder", true),
        ("postgres/log", "folder", true),
        ("postgres/run", "folder", true),
        ("postgres/start.lock", "file", true),
        ("postgres/start.lock", "nothing-yet", true),
        ("postgres/startup.log", "file", false),
        ("postgres/log/startup.log", "file", false),
        ("postgres/data.new", "folder", false),
        ("cache", "folder", false),
    ];
    for (planted, target, is_refused) in plants {
        let (folder, victim) = (folder(), Victim::new());
        folders_of_earlier_builds(folder.path());
        let path = folder.path().join(planted);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        }
        symlink(victim.path(target), &path).unwrap();
        let (uid, gid) = server_user();
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
        let output = run(folder.path(), ["migrate"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !is_root() {
            continue;
        }
        assert_eq!(output.status.success(), !is_refused, "{planted}: {text}");
        if is_refused {
            let named = format!("{} is a symbolic link", path.display());
            assert!(text.contains(&named), "{planted}: {text}");
        }
        victim.is_untouched(planted);
        assert!(!victim.path("nothing-yet").exists(), "{planted}");
    }
}

#[test]
fn root_changes_no_file_through_a_second_name() {
    for planted in ["postgres/start.lock", "postgres/startup.log"] {
        let (folder, victim) = (folder(), Victim::new());
        folders_of_earlier_builds(folder.path());
        fs::hard_link(victim.path("file"), folder.path().join(planted)).unwrap();
        succeed(folder.path(), &["migrate"]);
        if is_root() {
            victim.is_untouched(planted);
        }
    }
}

#[test]
fn the_error_of_a_failed_start_shows_no_file_that_a_link_in_the_log_points_to() {
    let folder = folder();
    succeed(folder.path(), &["migrate"]);
    // The newest file: its lines come last in the log.
    let victim = Victim::new();
    let settings = folder.path().join("postgres/data/postgresql.auto.conf");
    fs::write(settings, "no_such_setting = 1\n").unwrap();
    symlink(
        victim.path("file"),
        folder.path().join("postgres/log/z.log"),
    )
    .unwrap();
    let output = run(folder.path(), ["migrate"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no_such_setting"), "{text}");
    assert_eq!(text.contains(SECRET.trim()), !is_root(), "{text}");
}

#[test]
fn the_ready_file_follows_no_link() {
    let (folder, victim) = (folder(), Victim::new());
    let served = Served::start_with(folder.path(), |command| {
        let ready = PathBuf::from(command.get_args().last().unwrap());
        symlink(victim.path("file"), ready.with_extension("new")).unwrap();
    });
    assert!(served.stop().success());
    assert_eq!(fs::read_to_string(victim.path("file")).unwrap(), SECRET);
}

#[test]
fn every_folder_and_file_has_the_owner_and_mode_that_it_needs() {
    let folder = folder();
    folders_of_earlier_builds(folder.path());
    let served = Served::start(folder.path());
    let own = Uid::effective().as_raw();
    let (uid, group) = server_user();
    let home_mode = if is_root() { 0o710 } else { 0o700 };
    for (name, owner, mode) in [
        ("postgres", own, home_mode),
        ("postgres/start.lock", own, 0o600),
        ("postgres/startup.log", own, 0o600),
        ("postgres/data", uid, 0o700),
        ("postgres/log", uid, 0o700),
        ("postgres/run", uid, 0o700),
        ("postgres/run/.s.PGSQL.5432", uid, 0o700),
    ] {
        let found = fs::symlink_metadata(folder.path().join(name)).unwrap();
        assert_eq!(
            (found.uid(), found.mode() & 0o7777),
            (owner, mode),
            "{name}"
        );
    }
    let home = fs::metadata(folder.path().join("postgres")).unwrap();
    assert_eq!(home.gid(), group);
    assert!(served.stop().success());
}

#[test]
fn root_takes_over_a_data_directory_of_the_servers_user_and_refuses_one_of_a_stranger() {
    if !is_root() {
        // There is nothing to take over: everything belongs to this user.
        succeed(folder().path(), &["migrate"]);
        return;
    }
    let (uid, gid) = server_user();
    let taken = folder();
    chown(taken.path(), Some(uid), Some(gid)).unwrap();
    succeed(taken.path(), &["migrate"]);
    assert_eq!(fs::metadata(taken.path()).unwrap().uid(), 0);

    // A stranger's folder, or one below it, could be replaced by its owner.
    let strange = folder();
    let below = strange.path().join("data");
    fs::create_dir(&below).unwrap();
    chown(strange.path(), Some(12_345), Some(12_345)).unwrap();
    for path in [strange.path(), &below] {
        let output = run(path, ["migrate"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success()
                && text.contains(&format!("{} (owner uid 12345", strange.path().display()))
                && text.contains("STEWARD_DATABASE__DATA_DIR"),
            "{text}"
        );
    }
    assert_eq!(fs::read_dir(&below).unwrap().count(), 0);

    // So could everybody, below a folder that everybody may write to.
    let open = folder();
    let below = open.path().join("data");
    fs::create_dir(&below).unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = run(&below, ["migrate"]);
    assert!(!output.status.success());
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    succeed(&below, &["migrate"]);
}
