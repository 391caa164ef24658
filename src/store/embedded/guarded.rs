//! File operations that are safe when root works beside an unprivileged user.
//!
//! The server's user owns the data, the log and the socket's folder. If root opened a path in there,
//! that user could make the path a link to any file of the system. So root creates files only in
//! folders that it owns itself, opens everything without following links, and changes owner and mode
//! through the opened descriptor. Without root, nobody else can write there, and links are followed:
//! an operator may have put the data on another disk.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid};
use tracing::info;

use super::{Failure, at};

/// How much of the end of a file is read.
const MAX_READ: u64 = 64 * 1024;

/// The owner and mode that a folder gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ownership {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) mode: u32,
}

fn is_root() -> bool {
    Uid::effective().is_root()
}

/// The flags of every open call. `O_NONBLOCK`: a named pipe in place of a file must not block.
fn flags(more: OFlag) -> i32 {
    let follow = if is_root() {
        OFlag::O_NOFOLLOW
    } else {
        OFlag::empty()
    };
    (follow | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | more).bits()
}

/// Names the link if an open call failed because of one.
fn opened(path: &Path, file: io::Result<File>) -> Result<File, Failure> {
    file.map_err(|source| {
        let is_link = fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink());
        let errno = source.raw_os_error().map(Errno::from_raw);
        if is_link && matches!(errno, Some(Errno::ELOOP | Errno::ENOTDIR | Errno::EMLINK)) {
            Failure::Link {
                path: path.to_owned(),
            }
        } else {
            at(path)(source)
        }
    })
}

/// Opens a folder, which must not be a link if this process is root.
fn open_folder(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlag::O_DIRECTORY))
        .open(path);
    opened(path, file)
}

/// Creates a folder with this owner and mode. One that exists may so far belong to this process's
/// user or to one of `former`; it gets this owner and mode.
pub(super) fn folder(path: &Path, wanted: Ownership, former: &[Uid]) -> Result<(), Failure> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path)(error)),
        _ => {}
    }
    let folder = open_folder(path)?;
    let found = folder.metadata().map_err(at(path))?;
    let owner = Uid::from_raw(found.uid());
    if owner != Uid::effective() && owner != wanted.uid && !former.contains(&owner) {
        return Err(foreign(path, &found));
    }
    if is_root() {
        fchown(
            &folder,
            Some(wanted.uid.as_raw()),
            Some(wanted.gid.as_raw()),
        )
        .map_err(at(path))?;
    }
    folder
        .set_permissions(fs::Permissions::from_mode(wanted.mode))
        .map_err(at(path))
}

/// Creates the data directory and its parents. As root: checks that nobody else can replace it or
/// one of its parents; takes it over if it belongs to one of `former`.
pub(super) fn top_folder(path: &Path, former: &[Uid]) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(at(path))?;
    if !is_root() {
        return Ok(());
    }
    let path = &std::path::absolute(path).map_err(at(path))?;
    let parents = |path: &Path| path.parent().map_or(Ok(()), check_trusted);
    parents(path)?;
    let real = fs::canonicalize(path).map_err(at(path))?;
    parents(&real)?;
    if fs::symlink_metadata(path).map_err(at(path))?.uid() != 0 && real != *path {
        return Err(Failure::Link {
            path: path.to_owned(),
        });
    }
    let folder = open_folder(&real)?;
    let found = folder.metadata().map_err(at(&real))?;
    if former.contains(&Uid::from_raw(found.uid())) {
        fchown(&folder, Some(0), Some(0)).map_err(at(&real))?;
        info!(path = %real.display(), "the data directory belongs to root now");
    }
    if found.mode() & 0o022 != 0 {
        folder
            .set_permissions(fs::Permissions::from_mode(found.mode() & 0o755))
            .map_err(at(&real))?;
    }
    check_trusted(&real)
}

/// As root: checks that only root can replace the folder or one of its parents. A folder that others
/// may write to needs the sticky bit, such as `/tmp` has.
pub(super) fn check_trusted(path: &Path) -> Result<(), Failure> {
    if !is_root() {
        return Ok(());
    }
    let mut folder = PathBuf::new();
    for component in path.components() {
        folder.push(component);
        if matches!(component, Component::CurDir | Component::ParentDir) {
            continue;
        }
        let found = fs::symlink_metadata(&folder).map_err(at(&folder))?;
        let others = if found.gid() == 0 { 0o002 } else { 0o022 };
        let is_open = !found.is_symlink() && found.mode() & others != 0;
        if found.uid() != 0 || (is_open && found.mode() & 0o1000 == 0) {
            return Err(foreign(&folder, &found));
        }
    }
    Ok(())
}

fn foreign(path: &Path, found: &Metadata) -> Failure {
    Failure::Foreign {
        path: path.to_owned(),
        uid: found.uid(),
        mode: found.mode() & 0o7777,
        own: Uid::effective().as_raw(),
    }
}

/// Opens a file that locks are taken on, in a folder that only this user can write to.
pub(super) fn lock_file(path: &Path) -> Result<File, Failure> {
    let open = || {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(OFlag::empty()))
            .open(path);
        opened(path, file)
    };
    let file = open()?;
    let found = file.metadata().map_err(at(path))?;
    if !is_root() || (found.uid() == 0 && found.is_file() && found.nlink() == 1) {
        return Ok(file);
    }
    // Another user made it while the folder was its own.
    fs::remove_file(path).map_err(at(path))?;
    open()
}

/// Creates a new file in a folder that only this user can write to. Removes what was there before.
pub(super) fn fresh_file(path: &Path) -> Result<File, Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(flags(OFlag::empty()))
        .open(path);
    opened(path, file)
}

/// The end of a text file, at most 64 KiB; `None` if there is none, or if it is a link, no regular
/// file, or a second name of a file. The folder's owner may have made it anything.
pub(super) fn read(folder: &Path, name: &str) -> Option<String> {
    open_folder(folder).ok()?;
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlag::empty()))
        .open(folder.join(name))
        .ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || (is_root() && found.nlink() != 1) {
        return None;
    }
    file.seek(SeekFrom::Start(found.len().saturating_sub(MAX_READ)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The owner of a folder; `None` if there is none.
///
/// # Errors
/// [`Failure::Link`] if it is a link and this process is root.
pub(super) fn owner(path: &Path) -> Result<Option<Uid>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && is_root() => Err(Failure::Link {
            path: path.to_owned(),
        }),
        Ok(_) => Ok(fs::metadata(path).ok().map(|it| Uid::from_raw(it.uid()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Whether there is a socket, and no link to one, at this path.
pub(super) fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket())
}
