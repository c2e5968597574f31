//! A table's files as its tenant may have written them: read, or refused, and nothing worse.

use testkit::hostile;

use super::*;

#[tokio::test]
async fn spoilt_manifests_are_read_or_refused() {
    let bucket = bucket();
    let acme = acme(&bucket);
    let first = table(&acme);
    let made = written(&acme, &first, rows(0, 50)).await;
    let mut table = appended(&acme, &first, made.files).await;
    let more = written(&acme, &table, rows(50, 50)).await;
    table = appended(&acme, &table, more.files).await;
    let list = table.metadata.current_snapshot().unwrap().manifest_list().to_owned();
    let manifest =
        crate::manifest::list(&acme, &table.metadata, table.metadata.current_snapshot().unwrap()).await.unwrap()[0]
            .manifest_path
            .clone();
    for at in [list, manifest] {
        let good = acme.get(&at).await.unwrap();
        let (mut read, mut refused) = (0, 0);
        for bytes in hostile(&[&good], 400) {
            acme.put(&at, bytes.into()).await.unwrap();
            let outcome = tokio::spawn({
                let (acme, table) = (acme.clone(), table.clone());
                async move { scan::files(&acme, &table.metadata, None).await.map(|files| files.len()) }
            });
            match outcome.await {
                Ok(Ok(_)) => read += 1,
                Ok(Err(_)) => refused += 1,
                Err(died) => panic!("a spoilt file ended its reader: {died}"),
            }
        }
        assert!(refused > 300, "{read} read, {refused} refused");
        acme.put(&at, good).await.unwrap();
    }
    assert_eq!(scan::files(&acme, &table.metadata, None).await.unwrap().len(), 2);
}
