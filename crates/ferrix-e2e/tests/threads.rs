//! Whether all worker threads work. Alone in its file, for it looks at the threads of the process.

#[cfg(target_os = "linux")]
#[tokio::test]
async fn both_worker_threads_serve() {
    use ferrix_e2e::{Backend, Gateway, Routes, within};

    /// Nanoseconds on a processor, of each worker thread.
    fn times() -> Vec<u64> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let mut times = Vec::new();
        for task in tasks.map(|task| task.unwrap().path()) {
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            if name.trim() == "ferrix-proxy" {
                let time = std::fs::read_to_string(task.join("schedstat")).unwrap();
                times.push(time.split(' ').next().unwrap().parse().unwrap());
            }
        }
        times
    }

    let backend = Backend::hello("hi").await;
    let gateway = Gateway::start_with("server: {threads: 2}", Routes::all_to(&[backend.address()]));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut client = gateway.client().await;
        tasks.spawn(async move {
            for _ in 0..100 {
                assert_eq!(client.get("/").await.status, 200);
            }
        });
    }
    while let Some(task) = within("the load", tasks.join_next()).await {
        task.unwrap();
    }
    let times = times();
    assert_eq!(times.len(), 2, "{times:?}");
    let all: u64 = times.iter().sum();
    for time in &times {
        assert!(time * 10 > all, "one thread does nearly nothing: {times:?}");
    }
}
