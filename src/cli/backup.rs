//! `steward backup` and `restore`

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::sync::mpsc;

use super::{CommandError, Fetching, output};
use crate::app::{self, Database};
use crate::config::Config;
use crate::dialects::dates;
use crate::service::Clock;
use crate::store::Store;
use crate::store::backup::{self, Failure, Header, Part, Reader, Record, Report, Restore};

/// How many chunks may wait between the database and the file, on either way. A chunk has 64 KiB, or
/// one row if that is larger.
const CHUNKS: usize = 16;
/// The name of the file that stands for standard input or output.
const STANDARD: &str = "-";

#[derive(Debug, Args)]
pub(super) struct MakeBackup {
    /// The file to write; `-` is standard output.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreBackup {
    /// The backup; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only check that the file is complete and undamaged. Uses no database.
    #[arg(long)]
    check: bool,
    /// How many numbers of accounts, resellers and tokens to leave out, because they may have been
    /// given after the backup was made.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100_000_000))]
    skip_numbers: u32,
    #[command(flatten)]
    fetching: Fetching,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CommandError + '_ {
    move |source| {
        CommandError::Backup(Failure::File {
            path: path.to_owned(),
            source,
        })
    }
}

/// A number with the noun in the right form.
fn count(rows: u64, noun: &str) -> String {
    match (rows, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{rows} {stem}ies"),
        (_, None) => format!("{rows} {noun}s"),
    }
}

/// The header and the number of rows, for people.
fn describe(header: &Header, rows: impl Fn(&str) -> u64) -> String {
    format!(
        "{}, {}, {}; made at {} by Steward {} with schema {}",
        // The platform itself is a row, too.
        count(rows("reseller").saturating_sub(1), "reseller"),
        count(rows("account"), "account"),
        count(rows("journal"), "journal entry"),
        dates::write(header.created_at),
        header.version,
        header.schema()
    )
}

impl MakeBackup {
    pub(super) async fn run(self, config: &Config) -> Result<(), CommandError> {
        let draft = Draft::create(&self.file, self.force)?;
        let database = Database::open(config).await?;
        let made = make(&database, draft).await;
        database.close().await;
        output::note(&made?);
        Ok(())
    }
}

/// Backs up the database into the draft, and gives the draft its name.
async fn make(database: &Database, draft: Draft) -> Result<String, CommandError> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let writing = tokio::task::spawn_blocking(move || draft.write(receiver));
    let now = || Clock::System.now();
    let version = env!("CARGO_PKG_VERSION");
    let read = tokio::select! {
        read = Store::back_up(database.options(), version, now, sender) => read,
        () = app::signal() => Err(Failure::Interrupted),
    };
    let written = writing
        .await
        .map_err(|panic| CommandError::Other(panic.to_string()))?;
    match (read, written) {
        // The writer ends early because the reader has failed, or the other way round.
        (Err(failure), Ok(_) | Err(None)) => Err(failure.into()),
        (_, Err(Some(error))) => Err(error),
        (Ok(_), Err(None)) => Err(Failure::Interrupted.into()),
        (Ok((header, rows)), Ok(path)) => {
            let rows = |name: &str| rows.get(name).copied().unwrap_or_default();
            Ok(format!(
                "wrote {}: {}",
                path.display(),
                describe(&header, rows)
            ))
        }
    }
}

/// The file of a backup while it is written: beside the file that it becomes, and removed unless it
/// is finished. Only its owner can read it, because a backup has secrets of webhooks.
struct Draft {
    path: PathBuf,
    force: bool,
    /// The file and its path. `None` is standard output.
    file: Option<(File, PathBuf)>,
}

impl Draft {
    fn create(path: &Path, force: bool) -> Result<Self, CommandError> {
        let path = path.to_owned();
        if path.as_os_str() == STANDARD {
            let file = None;
            return Ok(Self { path, force, file });
        }
        check_absent(&path, force)?;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|it| !it.is_dir()) {
            return Err(CommandError::Other(format!(
                "{}: there is no folder {}; make it first, or name another file",
                path.display(),
                folder.display()
            )));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let draft = path.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(at(&draft))?;
        let file = Some((file, draft));
        Ok(Self { path, force, file })
    }

    /// Writes the parts and finishes the file. Returns its path; `Err(None)` means that the parts
    /// ended too early.
    fn write(mut self, parts: mpsc::Receiver<Part>) -> Result<PathBuf, Option<CommandError>> {
        let fail = |path: &Path, error: io::Error| {
            let is_cut_off = error.kind() == io::ErrorKind::UnexpectedEof;
            (!is_cut_off).then(|| at(path)(error))
        };
        let Some((file, draft)) = &self.file else {
            let mut out = backup::write(io::stdout().lock(), parts)
                .map_err(|error| fail(Path::new("standard output"), error))?;
            out.flush()
                .map_err(|error| fail(Path::new("standard output"), error))?;
            return Ok(PathBuf::from("standard output"));
        };
        backup::write(io::BufWriter::with_capacity(1 << 18, file), parts)
            .and_then(|mut file| file.flush())
            .and_then(|()| file.sync_all())
            .map_err(|error| fail(draft, error))?;
        check_absent(&self.path, self.force).map_err(Some)?;
        fs::rename(draft, &self.path).map_err(|error| fail(&self.path, error))?;
        self.file = None;
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| fail(&self.path, error))?;
        Ok(self.path.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some((_, draft)) = &self.file {
            // Nothing better can be done than to leave it.
            let _removed = fs::remove_file(draft);
        }
    }
}

fn check_absent(path: &Path, force: bool) -> Result<(), CommandError> {
    if force || fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    Err(CommandError::Other(format!(
        "{} exists: choose another name, or replace it with --force",
        path.display()
    )))
}

impl RestoreBackup {
    pub(super) async fn run(mut self, mut config: Config) -> Result<(), CommandError> {
        self.fetching.apply(&mut config);
        let file = std::mem::take(&mut self.file);
        let opened = tokio::task::spawn_blocking(move || open(&file)).await;
        let reader = opened.map_err(|panic| CommandError::Other(panic.to_string()))??;
        let header = reader.header().clone();
        if self.check {
            let reading = tokio::task::spawn_blocking(move || read(reader, None));
            let rows = reading
                .await
                .map_err(|panic| CommandError::Other(panic.to_string()))??;
            let rows = |name: &str| rows.get(name).copied().unwrap_or_default();
            output::line(&format!("complete: {}", describe(&header, rows)));
            return Ok(());
        }
        backup::check_known(&header)?;
        let database = Database::open_or_create(&config).await?;
        let restored = self.restore(&database, reader).await;
        database.close().await;
        let report = restored.map_err(|failure| explain(failure, &config))?;
        let rows = |name: &str| report.rows.get(name).copied().unwrap_or_default();
        output::line(&format!("restored {}", describe(&header, rows)));
        if report.migrated > 0 {
            let migrations = u64::try_from(report.migrated).unwrap_or_default();
            output::line(&format!(
                "applied {} that the backup did not have",
                count(migrations, "migration")
            ));
        }
        output::line(&format!(
            "the ids of events continue at {}; left out {} numbers of accounts, resellers and tokens",
            report.first_event, self.skip_numbers
        ));
        Ok(())
    }

    /// Restores into the database. A thread reads the file meanwhile.
    async fn restore(&self, database: &Database, reader: Reader) -> Result<Report, CommandError> {
        let header = reader.header().clone();
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let reading = tokio::task::spawn_blocking(move || read(reader, Some(&sender)));
        let how = Restore {
            now: Clock::System.now(),
            skip: i64::from(self.skip_numbers),
        };
        let restored = Store::restore(database.options(), &header, how, receiver).await;
        let read = reading
            .await
            .map_err(|panic| CommandError::Other(panic.to_string()))?;
        match (restored, read) {
            (Err(Failure::Interrupted), Err(failure)) => Err(failure.into()),
            (restored, _) => Ok(restored?),
        }
    }
}

fn open(file: &Path) -> Result<Reader, CommandError> {
    let content: Box<dyn Read + Send> = if file.as_os_str() == STANDARD {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(at(file))?)
    };
    Ok(Reader::open(file, content)?)
}

type Rows = std::collections::BTreeMap<String, u64>;

/// Reads a backup to its end, and sends the records. Returns the number of rows of each table.
fn read(mut reader: Reader, records: Option<&mpsc::Sender<Record>>) -> Result<Rows, Failure> {
    loop {
        let record = reader.next_record()?;
        let rows = match &record {
            Record::End { rows } => Some(rows.clone()),
            Record::Table { .. }
            | Record::Rows(_)
            | Record::TableEnd { .. }
            | Record::Sequences(_) => None,
        };
        if let Some(records) = records {
            let sent = records.blocking_send(record);
            sent.map_err(|_| Failure::Interrupted)?;
        }
        if let Some(rows) = rows {
            return Ok(rows);
        }
    }
}

/// Says what to do if the database is not empty.
fn explain(error: CommandError, config: &Config) -> CommandError {
    let CommandError::Backup(Failure::NotEmpty(name)) = error else {
        return error;
    };
    let remedy = if config.database_url().is_some() {
        format!(
            "the database \"{name}\" of database.url (DATABASE_URL) has tables of Steward already. A \
             backup is restored into an empty database only: create one, such as `create database \
             steward_restored owner` the login of the URL, and name it in the URL"
        )
    } else {
        let folder = config.data_dir().unwrap_or_default();
        format!(
            "the data folder {} (database.data_dir, STEWARD_DATABASE__DATA_DIR) has a database \
             already. A backup is restored into a new one only: set the key to a new folder, or stop \
             the service and rename {}",
            folder.display(),
            folder.join("postgres").display()
        )
    };
    CommandError::Other(remedy)
}
