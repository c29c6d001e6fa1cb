//! Standard output and standard error as files of our own.
//!
//! The library's `stdout()` and `stderr()` stand behind a lock: a thread that waits for a reader
//! keeps every other one from writing, and `println!` panics where nobody reads any more. Whoever
//! writes to these files waits alone, and is told of failures.

use std::{
    fs::File,
    io::{self, Write as _},
};

/// Standard output.
///
/// # Errors
/// Where no file descriptor is left.
pub(crate) fn stdout() -> io::Result<File> {
    own(io::stdout())
}

/// Standard error.
///
/// # Errors
/// Where no file descriptor is left.
pub(crate) fn stderr() -> io::Result<File> {
    own(io::stderr())
}

#[cfg(unix)]
fn own(stream: impl std::os::fd::AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn own(stream: impl std::os::windows::io::AsHandle) -> io::Result<File> {
    stream.as_handle().try_clone_to_owned().map(File::from)
}

/// Writes all of it, however long the reader takes.
///
/// `write_all` of the library fails where the file does not block and is full: whoever started
/// this process, or shares the stream with it, may have made it so.
///
/// # Errors
/// Where the file takes nothing any more: the reader is gone, or the disk is full.
pub(crate) fn write_all(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(file)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn wait_for_room(file: &File) -> io::Result<()> {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::Errno,
    };

    match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn wait_for_room(_file: &File) -> io::Result<()> {
    std::thread::sleep(std::time::Duration::from_millis(50));
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Read as _, thread};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn a_pipe_that_does_not_block_is_waited_for() {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        rustix::io::ioctl_fionbio(&reader, false).unwrap();
        // More than any pipe holds.
        let text = vec![b'x'; 4 << 20];
        let expected = text.len();
        let write = thread::spawn(move || write_all(&mut File::from(writer), &text));
        let mut read = Vec::new();
        File::from(reader).read_to_end(&mut read).unwrap();
        write.join().unwrap().unwrap();
        assert_eq!(read.len(), expected);
    }

    #[test]
    fn a_reader_that_has_left_is_an_error() {
        let (reader, writer) = pipe_with(PipeFlags::empty()).unwrap();
        drop(reader);
        let error = write_all(&mut File::from(writer), b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
