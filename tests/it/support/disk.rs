//! A small disk that a test may fill.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools;

/// A small file system in memory, until it is dropped.
pub struct Disk {
    pub folder: PathBuf,
}

impl Disk {
    /// `None` where none can be mounted.
    pub fn mount(folder: &Path, size_mib: usize) -> Option<Disk> {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={size_mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).status();
        if !mounted.is_ok_and(|status| status.success()) {
            tools::skip("a tmpfs can not be mounted");
            return None;
        }
        Some(Disk { folder: folder.to_owned() })
    }

    /// Fills it until so much is left.
    pub fn fill(&self, name: &str, left_mib: usize) -> PathBuf {
        let path = self.folder.join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        let block = vec![1_u8; 1 << 20];
        while self.free_mib() > left_mib {
            file.write_all(&block).unwrap();
        }
        path
    }

    pub fn free_mib(&self) -> usize {
        let disk = rustix::fs::statvfs(&self.folder).unwrap();
        usize::try_from((disk.f_bavail * disk.f_frsize) >> 20).unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
