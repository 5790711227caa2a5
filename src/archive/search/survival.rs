//! What the index survives: damage, folders that can not be written, crashes, backups, being built anew.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::super::tests::{QUESTIONS, find, generated, same_as_a_scan, scan, settle};
    use super::super::*;
    use crate::archive::tests::{at, settings, stop};
    use crate::archive::{ActionKind, Erasure, ErasureKind};

    #[tokio::test(flavor = "multi_thread")]
    async fn an_index_that_is_damaged_old_or_lost_is_built_anew() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("search");
        let archive = Archive::open(&settings(dir.path())).unwrap();
        for number in 0..40 {
            archive.accept(generated(number)).await.unwrap();
        }
        settle(&archive).await;
        let expected = scan(&archive, "inv");
        assert!(!expected.is_empty());
        archive.close().await;
        let damage: [fn(&Path); 6] = [
            |folder| std::fs::remove_dir_all(folder).unwrap(),
            |folder| std::fs::write(folder.join("meta.json"), "{}").unwrap(),
            |folder| {
                let meta = std::fs::read_to_string(folder.join("meta.json")).unwrap();
                // The version is the payload's first number.
                let other = meta.replace("\"payload\": \"", "\"payload\": \"9");
                assert_ne!(meta, other);
                std::fs::write(folder.join("meta.json"), other).unwrap();
            },
            |folder| {
                // A crash in the middle of a rebuild leaves this beside it.
                std::fs::create_dir(folder.with_extension("new")).unwrap();
                std::fs::write(folder.with_extension("new").join("meta.json"), "torn").unwrap();
                let path = one_file(folder, "term");
                std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(7).unwrap();
            },
            |folder| std::fs::remove_file(one_file(folder, "idx")).unwrap(),
            |folder| {
                for entry in std::fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.extension().is_some_and(|extension| extension != "json") {
                        std::fs::write(path, "not an index").unwrap();
                    }
                }
            },
        ];
        for (which, damage) in damage.into_iter().enumerate() {
            damage(&folder);
            let archive = Archive::open(&settings(dir.path())).unwrap();
            settle(&archive).await;
            assert_eq!(find(&archive, "inv", SearchOrder::Newest, 9), expected, "damage {which}");
            archive.close().await;
        }
    }

    /// The largest file of the index with this ending.
    fn one_file(folder: &Path, ending: &str) -> std::path::PathBuf {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|found| found == ending));
        files.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_index_that_can_not_be_made_is_given_up_and_searches_scan() {
        let dir = tempfile::tempdir().unwrap();
        // A file is not ours to remove.
        let folder = dir.path().join("search");
        std::fs::write(&folder, "somebody's notes").unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let id = archive.accept(generated(0)).await.unwrap().get();
        let given_up = async || {
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let progress = archive.search_progress().unwrap();
                if progress.is_given_up && !progress.is_rebuilding {
                    return;
                }
                assert!(Instant::now() < deadline, "it is tried for ever: {progress:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        given_up().await;
        assert_eq!(find(&archive, "app:erp", SearchOrder::Newest, 5), [id]);
        // Whoever wants it built anew is told, and does not wait for ever.
        archive.reindex();
        given_up().await;
        std::fs::remove_file(&folder).unwrap();
        archive.reindex();
        settle(&archive).await;
        assert_eq!(find(&archive, "app:erp", SearchOrder::Newest, 5), [id]);
        archive.close().await;
    }

    #[test]
    fn an_archive_that_nobody_closes_ends_with_its_runtime_and_leaves_its_index() {
        let dir = tempfile::tempdir().unwrap();
        let meta = || std::fs::read_to_string(dir.path().join("search/meta.json")).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (shared, before) = runtime.block_on(async {
            let archive = Archive::open(&settings(dir.path())).unwrap();
            archive.accept(generated(0)).await.unwrap();
            settle(&archive).await;
            (std::sync::Arc::downgrade(&archive.inner.search), meta())
        });
        drop(runtime);
        let deadline = Instant::now() + Duration::from_secs(60);
        while shared.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the thread of the index goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(meta(), before, "it was built anew");
    }

    /// A copy of an archive that is closed.
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let to = to.join(path.file_name().unwrap());
            match path.is_dir() {
                true => copy(&path, &to),
                false => drop(std::fs::copy(&path, &to).unwrap()),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_leaves_index_and_records_apart_until_the_next_start_only() {
        let dir = tempfile::tempdir().unwrap();
        let (data, earlier) = (dir.path().join("data"), dir.path().join("earlier"));
        let archive = Archive::open(&settings(&data)).unwrap();
        let first = archive.accept(generated(0)).await.unwrap().get();
        for number in 1..20 {
            archive.accept(generated(number)).await.unwrap();
        }
        settle(&archive).await;
        archive.close().await;
        copy(&data, &earlier);
        let archive = Archive::open(&settings(&data)).unwrap();
        for number in 20..40 {
            archive.accept(generated(number)).await.unwrap();
        }
        stop(&archive, first, ActionKind::Stop).await;
        let kind = ErasureKind::Redact;
        let erasure =
            Erasure { message: first, kind, by: "user anna".into(), reason: None, at: at(50) };
        archive.erase(erasure).await.unwrap().unwrap();
        settle(&archive).await;
        archive.close().await;

        // The records got further than the last commit of the index.
        let later = dir.path().join("later");
        std::fs::rename(data.join("search"), &later).unwrap();
        copy(&earlier.join("search"), &data.join("search"));
        let archive = Archive::open(&settings(&data)).unwrap();
        same_as_a_scan(&archive, &QUESTIONS[..4]).await;
        settle(&archive).await;
        same_as_a_scan(&archive, &QUESTIONS[..12]).await;
        assert!(!find(&archive, "app:erp", SearchOrder::Newest, 50).contains(&first));
        archive.close().await;

        // The records came back from a backup, and the index did not.
        std::fs::remove_dir_all(earlier.join("search")).unwrap();
        copy(&later, &earlier.join("search"));
        let archive = Archive::open(&settings(&earlier)).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        settle(&archive).await;
        same_as_a_scan(&archive, &QUESTIONS[..12]).await;
        archive.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_rebuild_on_demand_ends_with_the_same_answers() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        for number in 0..40 {
            archive.accept(generated(number)).await.unwrap();
        }
        settle(&archive).await;
        archive.reindex();
        while archive.search_progress().unwrap().is_rebuilding {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let progress = archive.search_progress().unwrap();
        assert_eq!((progress.indexed, progress.total), (40, 40));
        same_as_a_scan(&archive, &QUESTIONS[..12]).await;
        archive.close().await;
    }
}
